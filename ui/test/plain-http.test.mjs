// When a browser keeps a log-in, and what is said when it does not.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import ts from 'typescript';

const source = readFileSync(new URL('../src/lib/plain-http.ts', import.meta.url), 'utf8');
const { outputText } = ts.transpileModule(source, { compilerOptions: { target: 'ES2022', module: 'ESNext' } });
const { tunnel } = await import(`data:text/javascript;base64,${Buffer.from(outputText).toString('base64')}`);
const at = (url) => tunnel(new URL(url));

test('on this machine and over https nothing is in the way', () => {
  for (const url of ['https://mail.example.org', 'http://localhost:8025', 'http://127.0.0.1:8025', 'http://127.9.9.9', 'http://[::1]:8025', 'http://demo.localhost']) assert.equal(at(url), undefined, url);
});

test('over plain http from elsewhere the way out has the port of the page', () => {
  assert.deepEqual(at('http://192.0.2.7:8025'), { command: 'ssh -N -L 8025:127.0.0.1:8025 192.0.2.7', address: 'http://127.0.0.1:8025' });
  assert.deepEqual(at('http://mail.example.org'), { command: 'ssh -N -L 8025:127.0.0.1:80 mail.example.org', address: 'http://127.0.0.1:8025' });
  assert.ok(at('http://127.0.0.1.example.org'));
  assert.ok(at('http://localhost.example.org:8025'));
});
