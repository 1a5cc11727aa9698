// Runs inside a container that is shut in like a sandbox and says what it can reach. Not reached means that nothing
// answers: a refused connection came back from the other side, so the packet got through.
const net = require("node:net");
const dns = require("node:dns");

const PATIENCE_MS = 1500; // the host answers within a millisecond or never
const { targets, name } = JSON.parse(process.argv[1]);

const dial = ({ host, port }) =>
  new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const end = (answer) => {
      socket.destroy();
      resolve({ host, port, answer });
    };
    // Timers run before events: on a starved machine the answer may lie there unread.
    socket.setTimeout(PATIENCE_MS, () => setImmediate(() => setImmediate(end, "silent")));
    socket.once("connect", () => end("open"));
    socket.once("error", ({ code }) => end(code === "ECONNREFUSED" || code === "ECONNRESET" ? "refused" : "silent"));
  });

const lookUp = (host) =>
  new Promise((resolve) => {
    setTimeout(() => resolve({ host, port: 0, answer: "silent" }), PATIENCE_MS);
    dns.resolve4(host, (error) => resolve({ host, port: 0, answer: error ? "silent" : "open" }));
  });

// Our own port is isolated right after our start; what is tried before that proves nothing.
setTimeout(async () => {
  const answers = await Promise.all([...targets.map(dial), lookUp(name)]);
  process.stdout.write(JSON.stringify(answers));
  process.exit(0);
}, 300);
