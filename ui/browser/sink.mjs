// A mail host in this process that takes everything and keeps it.

import { createServer } from 'node:net';

/** Starts it; `messages` are what came in, header and body with bare line ends. */
export function sink() {
  const messages = [];
  const server = createServer((socket) => {
    let data = null;
    let rest = '';
    socket.on('error', () => {});
    socket.write('220 sink.test ESMTP\r\n');
    socket.on('data', (chunk) => {
      rest += chunk.toString('latin1');
      const lines = rest.split('\r\n');
      rest = lines.pop();
      for (const line of lines) {
        if (data) {
          if (line === '.') {
            messages.push(data.join('\n'));
            data = null;
            socket.write('250 2.0.0 kept\r\n');
          } else data.push(line.startsWith('..') ? line.slice(1) : line);
          continue;
        }
        const verb = line.slice(0, 4).toUpperCase();
        if (verb === 'DATA') {
          data = [];
          socket.write('354 go on\r\n');
        } else if (verb === 'QUIT') socket.end('221 2.0.0 bye\r\n');
        else socket.write('250 2.0.0 ok\r\n');
      }
    });
  });
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
