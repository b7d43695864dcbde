"""The pretended GPU finds what a GPU would wait for, and computes what the CPU computes."""

import copy

import pytest
import torch

from tests.pretended_gpu import counted, on_gpu


class Layer(torch.nn.Module):
    """A linear layer with something planted between it and its loss."""

    def __init__(self, planted=lambda x: x):
        super().__init__()
        self.linear, self.planted = torch.nn.Linear(3, 3), planted
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x):
        return self.planted(torch.relu(self.linear(x) * self.scale)).sum()


def counts_of(planted, backward=True):
    torch.manual_seed(0)
    model, batch = on_gpu(Layer(planted)), on_gpu({"x": torch.randn(2, 3)})
    with counted() as counts:
        loss = model(**batch)
        if backward:
            loss.backward()
    return counts


def test_nothing_is_found_where_nothing_waits_and_numbers_are_the_cpus():
    torch.manual_seed(0)
    model, x = Layer(), torch.randn(2, 3)
    model(x).backward()
    pretended = on_gpu(copy.deepcopy(model))
    pretended.zero_grad()
    with counted() as counts:
        loss = pretended(**on_gpu({"x": x}))
        loss.backward()
        assert loss.device.type == "gpu"
    assert not counts.synchronisations
    assert not counts.copies
    assert not counts.mixed
    assert 5 <= counts.kernels <= 20
    assert torch.equal(pretended.linear.weight.grad.host, model.linear.weight.grad)


ON_HOST = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        (lambda x: x * x.sum().item(), "item"),
        (lambda x: x * float(x.max()), "item"),
        (lambda x: x if x.sum() > -1 else -x, "item"),
        (lambda x: x * len(x.argmax(1).tolist()), "tolist"),
        (lambda x: x[x > 0], "boolean index"),
        (lambda x: x.masked_select(x > 0), "masked_select"),
        (lambda x: x[(x > 0).nonzero()[:, 0]], "nonzero"),
        (lambda x: x * x.detach().cpu().shape[0], "copy to the host"),
        (lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=x.device), "copy to the GPU"),
        (lambda x: x + torch.as_tensor([1, 2, 3], device=x.device), "copy to the GPU"),
        (lambda x: x + x.new_tensor([1.0, 2.0, 3.0]), "copy to the GPU"),
        (lambda x: x + x.new([1.0, 2.0, 3.0]), "tensor.new"),
        (lambda x: x + torch.ones(3).to(x.device), "copy to the GPU"),
        (lambda x: x + torch.arange(0, 3, 1).to(x.device), "copy to the GPU"),
        (lambda x: x[:, ON_HOST], "index of the host"),
        (lambda x: torch.nn.functional.one_hot(x.argmax(1)).sum() + x, "item"),
        (lambda x: x.repeat_interleave(x.argmax(1)[:1] + 2), "repeat_interleave"),
    ],
)
def test_what_waits_is_found_with_its_line(planted, kind):
    found = counts_of(planted, backward=False).synchronisations
    assert found == {(kind, f"tests/unit/test_pretended_gpu.py:{planted.__code__.co_firstlineno}"): 1}


@pytest.mark.parametrize(
    "planted",
    [
        lambda x: x.masked_fill(x > 0, 0.0),
        lambda x: x + torch.arange(3, device=x.device),
        lambda x: x + torch.full((3,), 2.0, device=x.device),
        lambda x: x[:, torch.arange(2, device=x.device)],
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x * torch.tensor(2.0),  # one number of the host is an argument of the kernel
        lambda x: x * torch.rand(x.shape, device=x.device) + torch.randint(0, 3, x.shape, device=x.device),
        lambda x: x.repeat_interleave(2),
    ],
)
def test_what_does_not_wait_is_not_found(planted):
    counts = counts_of(planted)
    assert not counts.synchronisations
    assert not counts.mixed
    assert not counts.copies


def test_a_wait_in_the_backward_pass_is_found():
    class Asks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.sum().item()

    assert counts_of(Asks.apply, backward=False).synchronisations.total() == 0
    assert counts_of(Asks.apply).synchronisations.total() == 1
    # An index of the host is copied once in each pass.
    assert counts_of(lambda x: x[:, ON_HOST]).copies.total() == 2


def test_tensors_of_both_devices_are_found():
    counts = counts_of(lambda x: x + torch.ones(3))
    assert [(what, number) for (what, _), number in counts.mixed.items()] == [("add", 1)]


def test_a_copy_in_the_background_is_a_copy_and_no_wait():
    counts = counts_of(lambda x: x + torch.ones(3).to(x.device, non_blocking=True))
    assert counts.copies.total() == 1
    assert not counts.synchronisations


def test_an_event_of_the_last_step_is_not_waited_for_and_one_of_now_is():
    with counted() as counts:
        x = on_gpu({"x": torch.ones(3)})["x"]
        event = torch.cuda.Event()
        y = x + 1
        event.record()
        z = y + 1
        event.synchronize()
        assert not counts.synchronisations
        event.record()
        event.synchronize()
        assert counts.synchronisations.total() == 1
        norm = torch.empty((), pin_memory=True).copy_(z.sum(), non_blocking=True)
        assert not isinstance(norm, type(z))
        assert counts.synchronisations.total() == 1


@pytest.mark.parametrize("on_host", [False, True])
def test_ctc_asks_for_lengths_that_are_on_the_gpu_and_copies_what_it_has_to(on_host):
    lengths = {"given": torch.tensor([4, 3]), "wanted": torch.tensor([2, 1])}
    likely = torch.randn(4, 2, 5).log_softmax(-1).requires_grad_()
    plain = torch.nn.functional.ctc_loss(likely, torch.tensor([[1, 2], [3, 0]]), *lengths.values())
    plain.backward()
    with counted() as counts:
        made = on_gpu({"likely": likely.detach(), "text": torch.tensor([[1, 2], [3, 0]])})
        lengths = lengths if on_host else on_gpu(lengths)
        made["likely"].requires_grad_()
        loss = torch.nn.functional.ctc_loss(made["likely"], made["text"], *lengths.values())
        loss.backward()
    assert counts.synchronisations.total() == 6 + (0 if on_host else 2)
    assert torch.equal(loss.detach().host, plain.detach())
    assert torch.equal(made["likely"].grad.host, likely.grad)


def test_nothing_is_left_behind():
    assert not torch._C._only_lift_cpu_tensors()
    assert not torch.accelerator.is_available()
    assert torch.tensor([1.0]).device.type == "cpu"
    torch.manual_seed(3)
