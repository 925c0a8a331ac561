// A mail host in this process that takes everything and keeps it; if wished, only after STARTTLS and a log-in.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket, createSecureContext } from 'node:tls';

/** A certificate that nobody signed, for two days; needs `openssl`. */
export function certificate(name = 'smtp.sink.test') {
  const folder = mkdtempSync(join(tmpdir(), 'postrider-certificate-'));
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${name}`];
    execFileSync('openssl', [...words, '-addext', `subjectAltName=DNS:${name},IP:127.0.0.1`], { stdio: 'pipe' });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Starts it; `messages` are what came in, header and body with bare line ends. With `login` (`{ user, password, refusal }`) mail is
 * taken only after AUTH PLAIN or LOGIN, which a wrong password gets `refusal` for; with `tls` (a certificate) AUTH is offered
 * only after STARTTLS.
 */
export function sink({ login, tls } = {}) {
  const messages = [];
  const context = tls && createSecureContext(tls);
  const base64 = (text) => Buffer.from(text, 'base64').toString('utf8');

  const serve = (socket, secure) => {
    let [data, rest, user, asked, welcome] = [null, '', '', '', !login];
    socket.on('error', () => {});
    const say = (text) => socket.write(`${text}\r\n`);
    const judge = (name, password) => {
      asked = '';
      welcome = name === login.user && password === login.password;
      say(welcome ? '235 2.7.0 welcome' : login.refusal);
    };
    if (!secure) say('220 sink.test ESMTP');
    const heard = (chunk) => {
      rest += chunk.toString('latin1');
      const lines = rest.split('\r\n');
      rest = lines.pop();
      for (const line of lines) {
        if (data) {
          if (line === '.') {
            messages.push(data.join('\n'));
            data = null;
            say('250 2.0.0 kept');
          } else data.push(line.startsWith('..') ? line.slice(1) : line);
          continue;
        }
        if (asked === 'plain') {
          const [, name, password] = base64(line).split('\0');
          judge(name, password);
          continue;
        }
        if (asked === 'user') {
          user = base64(line);
          asked = 'password';
          say('334 UGFzc3dvcmQ6');
          continue;
        }
        if (asked === 'password') {
          judge(user, base64(line));
          continue;
        }
        const [verb, kind, given] = line.toUpperCase().split(' ', 2).concat(line.split(' ')[2] ?? '');
        if (verb === 'EHLO') {
          const offers = ['sink.test', ...(context && !secure ? ['STARTTLS'] : []), ...(login && (secure || !context) ? ['AUTH PLAIN LOGIN'] : []), 'ENHANCEDSTATUSCODES'];
          for (const [n, offer] of offers.entries()) say(`250${n < offers.length - 1 ? '-' : ' '}${offer}`);
        } else if (verb === 'STARTTLS' && context && !secure) {
          say('220 2.0.0 go on');
          socket.removeListener('data', heard);
          serve(new TLSSocket(socket, { isServer: true, secureContext: context }), true);
          return;
        } else if (verb === 'AUTH' && login && (secure || !context)) {
          if (kind === 'PLAIN' && given) {
            const [, name, password] = base64(given).split('\0');
            judge(name, password);
          } else if (kind === 'PLAIN') {
            asked = 'plain';
            say('334 ');
          } else {
            asked = 'user';
            say('334 VXNlcm5hbWU6');
          }
        } else if (verb === 'MAIL' && !welcome) say('530 5.7.0 Authentication required');
        else if (verb === 'DATA') {
          data = [];
          say('354 go on');
        } else if (verb === 'QUIT') socket.end('221 2.0.0 bye\r\n');
        else say('250 2.0.0 ok');
      }
    };
    socket.on('data', heard);
  };
  const server = createServer((socket) => serve(socket, false));
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve({ port: server.address().port, messages, stop: () => server.close() })),
  );
}

/** The value of a header with its folds undone; empty when it is not there. */
export function header(message, name) {
  const head = message.split('\n\n', 1)[0].replace(/\n[ \t]+/g, ' ');
  return head.split('\n').find((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))?.slice(name.length + 1).trim() ?? '';
}

/** The text of a message with quoted-printable undone, good enough to find links in it. */
export const readable = (message) => message.replace(/=\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
