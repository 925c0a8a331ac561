// The program itself, started for a browser: a demo with a campaign in it, or a fresh server that waits for its set-up.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const binary = process.env.POSTRIDER_BIN;
if (!binary) throw new Error('POSTRIDER_BIN must name the program: scripts/browser.sh sets it');

/** A port of 127.0.0.1 that nobody has now. */
export function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Runs the program until its output has all of `wanted` (name: pattern with one group); what it found, and how to end it. */
async function run(words, wanted, env, seconds) {
  const child = spawn(binary, words, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const found = {};
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing after ${seconds} s:\n${text}`)), seconds * 1000);
    const heard = (chunk) => {
      text += chunk;
      for (const [name, pattern] of Object.entries(wanted)) found[name] ??= text.match(pattern)?.[1];
      if (Object.keys(wanted).every((name) => found[name] !== undefined)) {
        clearTimeout(timer);
        resolve();
      }
    };
    child.stdout.on('data', heard);
    child.stderr.on('data', heard);
    child.on('exit', (code) => reject(new Error(`the program ended (${code}):\n${text}`)));
  });
  return {
    found,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.on('exit', resolve));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The program with a data folder and a port of its own. */
async function start(words, wanted, env = {}, seconds = 180) {
  const folder = mkdtempSync(join(tmpdir(), 'postrider-browser-'));
  const port = await freePort();
  const all = [...words, '--data', join(folder, 'data')];
  const surroundings = { POSTRIDER_HTTP_LISTEN: `127.0.0.1:${port}`, ...env };
  let program = await run(all, wanted, surroundings, seconds);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    folder,
    ...program.found,
    /** Ends the program as a service manager would; its data stay. */
    halt: () => program.end(),
    /** Starts it again on the same data and the same port. */
    async again() {
      program = await run(all, { listens: /listens on (\S+);/ }, surroundings, seconds);
    },
    async stop() {
      await program.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A server with a finished campaign in it, its log-in, and the simulated world beside it. */
export const demo = (contacts = 120) =>
  start(['demo', '--contacts', String(contacts)], { mailbox: /log in as (\S+) with/, password: /log in as \S+ with (\S+)/ }, { POSTRIDER_LOG: 'warn' });

/** A server without anything; `code` is what its console says. */
export const fresh = (env = {}) => start(['serve'], { code: /Set-up code, valid for 30 minutes: (\S+)/, listens: /listens on (\S+);/ }, env);

/** The simulated world alone: a name server and MX hosts. */
export async function world() {
  const [dns, smtp, control] = [await freePort(), await freePort(), await freePort()];
  const child = spawn(binary, ['sim', '--dns', `127.0.0.1:${dns}`, '--smtp-port', String(smtp), '--control', `127.0.0.1:${control}`], { stdio: 'ignore' });
  return {
    env: { POSTRIDER_DNS_SERVER: `127.0.0.1:${dns}`, POSTRIDER_MX_PORT: String(smtp), POSTRIDER_ALLOW_PRIVATE_MX: '127.0.0.0/8' },
    stop: () => child.kill('SIGTERM'),
  };
}
