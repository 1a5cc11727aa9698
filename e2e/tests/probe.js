// Runs inside a sandbox: dials what it is told and says what came of it. `node -e <this> <json>`
const net = require("node:net");
const dgram = require("node:dgram");
const dns = require("node:dns");
const os = require("node:os");

// A wall drops what it stops, so silence is the usual answer.
const SILENCE_MS = 3000;

const dial = ([host, port]) =>
  new Promise((done) => {
    const socket = net.connect({ host, port });
    const end = (result) => {
      socket.destroy();
      done(result);
    };
    socket.setTimeout(SILENCE_MS, () => end("closed, no answer"));
    socket.on("connect", () => end("open"));
    socket.on("error", (error) => end(`closed, ${error.code}`));
  });

const send = ([host, port]) =>
  new Promise((done) => {
    const socket = dgram.createSocket("udp4");
    socket.send("hello", port, host, () => {
      socket.close();
      done();
    });
  });

const lookUp = (name) =>
  new Promise((done) => {
    setTimeout(() => done([]), SILENCE_MS).unref();
    dns.resolve4(name, (error, addresses) => done(error ? [] : addresses));
  });

const main = async () => {
  const asked = JSON.parse(process.argv[1]);
  const [tcp, names] = await Promise.all([
    Promise.all(asked.tcp.map(dial)),
    lookUp("example.com"),
    send(asked.udp),
  ]);
  const addresses6 = Object.values(os.networkInterfaces())
    .flat()
    .filter((one) => one.family === "IPv6")
    .map((one) => one.address);
  console.log(JSON.stringify({ tcp, names, addresses6 }));
  process.exit(0);
};

main();
