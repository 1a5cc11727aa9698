// The way to the simulator and back. What it says arrives as events; what people do is posted.

//
// A browser cuts its connections whenever the machine's network changes, and a sandbox that starts
// on the same machine is such a change. So a short silence is not worth a word, and what was posted
// into it is posted again: everything that is posted may come twice.

/** How long after a refused stream another is tried. A lost one comes back by itself. */
const LISTEN_AGAIN_MS = 2000;
/** A silence of this length is told to people. */
const SILENCE_MS = 2500;
const POST_AGAIN_MS = 500;
const MOST_POSTS = 5;

/** Calls hello and news with what the simulator tells, and lost when nothing can be heard. */
export function listen({ hello, news, lost }) {
  let silence = null;

  function open() {
    const stream = new EventSource('/events');
    stream.addEventListener('hello', (event) => {
      clearTimeout(silence);
      silence = null;
      hello(JSON.parse(event.data));
    });
    stream.addEventListener('news', (event) => news(JSON.parse(event.data)));
    stream.addEventListener('error', () => {
      silence ??= setTimeout(lost, SILENCE_MS);
      if (stream.readyState === EventSource.CLOSED) setTimeout(open, LISTEN_AGAIN_MS);
    });
  }

  open();
}

/** Posts, and returns what came back. Throws a sentence that can be shown. */
export async function post(path, body) {
  const response = await answerTo(path, JSON.stringify(body), MOST_POSTS);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The simulated WhatsApp answered ${response.status}.`);
  return answer;
}

async function answerTo(path, body, posts) {
  try {
    return await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  } catch {
    if (posts <= 1) throw new Error('The simulated WhatsApp cannot be reached.');
  }
  await new Promise((wake) => setTimeout(wake, POST_AGAIN_MS));
  return answerTo(path, body, posts - 1);
}
