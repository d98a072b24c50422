// The servers that are photographed: the town of `lanyard-server demo`, and one that was made a moment ago.
//
// Both listen on ports of this machine alone, and are ended by their process.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PROGRAM = resolve(process.env.LANYARD_BIN_DIR ?? "../target/debug", "lanyard-server");
const PATIENCE_MS = 120_000;

/** The made-up town: where it is, who signs in, and when it was built. */
export async function town(devices = 200) {
  const port = await freePort();
  const args = ["demo", "--json", "--still", "--devices", `${devices}`, "--listen", `127.0.0.1:${port}`];
  const child = spawn(PROGRAM, args, { stdio: ["ignore", "pipe", "ignore"] });
  const { demo } = await firstAnswer(child);
  return { base: demo.url, user: demo.user, password: demo.password, at: Date.now(), stop: () => stop(child) };
}

/** A server as `lanyard-server init` leaves it, with a provider for signing in that does not answer. */
export async function fresh() {
  const folder = mkdtempSync(join(tmpdir(), "lanyard-pictures-"));
  const dir = join(folder, "server");
  const port = await freePort();
  // By a name, not an address: passkeys belong to names.
  const base = `http://localhost:${port}`;
  const { coordinator } = JSON.parse(
    execFileSync(PROGRAM, ["--json", "--dir", dir, "init", "--public", "192.0.2.1"], { encoding: "utf8" }),
  );
  const settings = [
    `[public]\nhost = "lan.example.org"\naddresses = ["192.0.2.1"]\n[data]\ndir = ${JSON.stringify(dir)}`,
    `[services]\nrun = ["index"]\n[web]\nlisten = "127.0.0.1:${port}"\ntls = []\nurl = "${base}"`,
    `[[oidc]]\nid = "work"\nname = "Example Ltd."\nissuer = "http://127.0.0.1:9"\nclient_id = "lanyard"\n`,
  ];
  writeFileSync(join(dir, "lanyard-server.toml"), settings.join("\n"));
  const child = spawn(PROGRAM, ["--dir", dir, "serve"], { stdio: "ignore" });
  await answering(base, child);
  return {
    base,
    setup: new URL(coordinator.setup).pathname,
    at: Date.now(),
    stop: async () => {
      await stop(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The JSON a program prints first, which may come in pieces. */
function firstAnswer(child) {
  return new Promise((done, fail) => {
    let text = "";
    const timer = setTimeout(() => fail(new Error(`${PROGRAM} says nothing`)), PATIENCE_MS);
    child.on("error", fail);
    child.on("exit", (code) => fail(new Error(`${PROGRAM} ended with ${code}`)));
    child.stdout.on("data", (piece) => {
      text += piece;
      try {
        const answer = JSON.parse(text);
        clearTimeout(timer);
        done(answer);
      } catch {
        // More comes.
      }
    });
  });
}

async function answering(base, child) {
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() < until && child.exitCode === null) {
    if (await fetch(`${base}/signin`).then(({ ok }) => ok, () => false)) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`nothing answers at ${base}`);
}

function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((done) => {
    child.on("exit", done);
    child.kill("SIGTERM");
  });
}

function freePort() {
  return new Promise((done, fail) => {
    const server = createServer();
    server.on("error", fail);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
