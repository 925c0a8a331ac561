// Applications: what clients are told is safe to paste whatever a password or a name has in it, and a code is found in a reply.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';
import ts from 'typescript';

const source = readFileSync(new URL('../src/screens/relay/snippets.ts', import.meta.url), 'utf8');
const { outputText } = ts.transpileModule(source, { compilerOptions: { target: 'ES2022', module: 'ESNext' } });
const { codeIn, shell, snippets, swaks } = await import(`data:text/javascript;base64,${Buffer.from(outputText).toString('base64')}`);

const LOGIN = { user: 'app-abc', password: `it's "a\\b" $HOME \`id\`` };
const wiring = (more = {}) => ({ host: 'mail.example.org', port: 587, security: 'starttls', login: LOGIN, from: 'app@example.org', to: 'you@example.net', ...more });
const told = (id, more) => snippets(wiring(more)).find((one) => one.id === id).text;

test('a shell hands every word on as it is', () => {
  for (const word of [LOGIN.password, 'plain', '', '; rm -rf', "''"]) {
    assert.equal(execFileSync('sh', ['-c', `printf %s ${shell(word)}`], { encoding: 'utf8' }), word);
  }
  const words = execFileSync('sh', ['-c', swaks(wiring()).replace(/^swaks/, "printf '%s\\n'")], { encoding: 'utf8' }).trimEnd().split('\n');
  assert.deepEqual(words, ['--server', 'mail.example.org', '--port', '587', '--tls', '--auth', 'PLAIN', '--auth-user', 'app-abc', '--auth-password', LOGIN.password, '--from', 'app@example.org', '--to', 'you@example.net', '--header', 'Subject: A test']);
});

test('strings of JavaScript and PHP read back as they were', () => {
  assert.ok(told('nodemailer').includes(`pass: ${JSON.stringify(LOGIN.password)}`));
  assert.ok(told('python').includes(`smtp.login("app-abc", ${JSON.stringify(LOGIN.password)})`));
  assert.ok(told('phpmailer').includes(`$mail->Password = 'it\\'s "a\\\\b" $HOME \`id\`';`));
});

test('each way asks for the encryption that it names, and for none but on this machine', () => {
  assert.match(told('python'), /smtplib\.SMTP\("mail\.example\.org", 587\)[\s\S]*starttls\(context=ssl\.create_default_context\(\)\)[\s\S]*login/);
  assert.match(told('python', { security: 'tls', port: 465 }), /SMTP_SSL\("mail\.example\.org", 465, context/);
  assert.doesNotMatch(told('python', { security: 'clear', host: '127.0.0.1', port: 2525 }), /ssl|starttls/);
  assert.match(told('nodemailer'), /secure: false, requireTLS: true/);
  assert.match(told('nodemailer', { security: 'tls' }), /secure: true/);
  assert.match(told('phpmailer', { security: 'tls' }), /ENCRYPTION_SMTPS/);
  assert.match(told('postfix'), /relayhost = \[mail\.example\.org\]:587\nsmtp_tls_security_level = secure/);
  assert.match(told('postfix', { security: 'tls' }), /smtp_tls_wrappermode = yes/);
  assert.match(told('swaks', { security: 'tls' }), /--tls-on-connect/);
});

test('an address alone logs in nowhere', () => {
  for (const { text } of snippets(wiring({ login: undefined }))) assert.doesNotMatch(text, /auth|login|sasl|Password/i);
});

test('a code is found in whatever was pasted', () => {
  assert.equal(codeIn('250 2.0.0 OK msg_0123456789abc'), 'msg_0123456789abc');
  assert.equal(codeIn('  MSG_0123456789ABC-2 '), 'msg_0123456789abc');
  assert.equal(codeIn('msg_tooshort'), '');
  assert.equal(codeIn(''), '');
});

test('every reason of a refusal has its words', () => {
  // The build copies what is needed of docs/ beside package.json; in the repository it lies above.
  const at = ['../openapi.json', '../../docs/openapi.json'].map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url));
  const reasons = JSON.parse(readFileSync(at, 'utf8')).components.schemas.RefusedFor.enum;
  const known = JSON.parse(readFileSync(new URL('../src/i18n/relay/en.json', import.meta.url), 'utf8'));
  assert.ok(reasons.length > 1);
  for (const reason of reasons) assert.ok(known[`relay.reason.${reason}`], reason);
});
