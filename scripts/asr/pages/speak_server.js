// What has been said goes to the server that the page is from, and comes back as text.
// send() rejects with {name, why?}: a phrase, and what fills it.
const SAID = ["busy", "too_large", "too_long"]; // errors that have words of their own in both languages

async function send(address, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value, ...(value instanceof Blob ? ["speech.wav"] : []));
  let response;
  try {
    response = await fetch(address, { method: "POST", body: form });
  } catch {
    throw { name: "unreachable" };
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) throw { name: "token_again" };
  if (!response.ok && SAID.includes(answer.error?.code)) throw { name: answer.error.code };
  if (!response.ok) throw { name: "not_written", why: answer.error?.message || answer.detail || `HTTP ${response.status}` };
  return answer;
}
