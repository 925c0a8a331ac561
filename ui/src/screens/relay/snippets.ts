// What five kinds of clients are told so that they hand their mail to us. Plain text in, plain text out.

export type Security = 'clear' | 'starttls' | 'tls';

export interface Wiring {
  host: string;
  port: number;
  security: Security;
  /** Nothing for an address alone. */
  login?: { user: string; password: string };
  from: string;
  to: string;
}

export interface Snippet {
  id: 'swaks' | 'python' | 'nodemailer' | 'phpmailer' | 'postfix';
  /** The names of programs are the same in every language. */
  name: string;
  text: string;
}

/** A word of a shell, quoted where it has to be. */
export const shell = (text: string) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
/** A string of JavaScript and of Python: both read what JSON writes. */
const quoted = (text: string) => JSON.stringify(text);
/** A string of PHP in which nothing is replaced. */
const php = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

/** The same line hands over one message, for a try. */
export function swaks({ host, port, security, login, from, to }: Wiring): string {
  const tls = { clear: [], starttls: ['--tls'], tls: ['--tls-on-connect'] }[security];
  const auth = login ? [`--auth PLAIN --auth-user ${shell(login.user)}`, `--auth-password ${shell(login.password)}`] : [];
  const lines = [`swaks --server ${shell(host)} --port ${port}${tls.map((one) => ` ${one}`).join('')}`, ...auth, `--from ${shell(from)} --to ${shell(to)}`, "--header 'Subject: A test'"];
  return lines.join(' \\\n  ');
}

function python({ host, port, security, login, from, to }: Wiring): string {
  const opened = security === 'tls' ? `smtplib.SMTP_SSL(${quoted(host)}, ${port}, context=ssl.create_default_context())` : `smtplib.SMTP(${quoted(host)}, ${port})`;
  return [
    'import smtplib',
    ...(security === 'clear' ? [] : ['import ssl']),
    'from email.message import EmailMessage',
    '',
    'message = EmailMessage()',
    `message["From"] = ${quoted(from)}`,
    `message["To"] = ${quoted(to)}`,
    'message["Subject"] = "A test"',
    'message.set_content("It works.")',
    '',
    `with ${opened} as smtp:`,
    ...(security === 'starttls' ? ['    smtp.starttls(context=ssl.create_default_context())'] : []),
    ...(login ? [`    smtp.login(${quoted(login.user)}, ${quoted(login.password)})`] : []),
    '    smtp.send_message(message)',
  ].join('\n');
}

function nodemailer({ host, port, security, login, from, to }: Wiring): string {
  const tls = { clear: 'secure: false, ignoreTLS: true', starttls: 'secure: false, requireTLS: true', tls: 'secure: true' }[security];
  return [
    "import nodemailer from 'nodemailer';",
    '',
    'const transport = nodemailer.createTransport({',
    `  host: ${quoted(host)}, port: ${port}, ${tls},`,
    ...(login ? [`  auth: { user: ${quoted(login.user)}, pass: ${quoted(login.password)} },`] : []),
    '});',
    'await transport.sendMail({',
    `  from: ${quoted(from)}, to: ${quoted(to)},`,
    "  subject: 'A test', text: 'It works.',",
    '});',
  ].join('\n');
}

function phpmailer({ host, port, security, login, from, to }: Wiring): string {
  const tls = {
    clear: ["$mail->SMTPSecure = '';", '$mail->SMTPAutoTLS = false;'],
    starttls: ['$mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;'],
    tls: ['$mail->SMTPSecure = PHPMailer::ENCRYPTION_SMTPS;'],
  }[security];
  return [
    '<?php',
    "require 'vendor/autoload.php';",
    '',
    'use PHPMailer\\PHPMailer\\PHPMailer;',
    '',
    '$mail = new PHPMailer(true);',
    '$mail->isSMTP();',
    `$mail->Host = ${php(host)};`,
    `$mail->Port = ${port};`,
    ...tls,
    ...(login ? ['$mail->SMTPAuth = true;', `$mail->Username = ${php(login.user)};`, `$mail->Password = ${php(login.password)};`] : []),
    `$mail->setFrom(${php(from)});`,
    `$mail->addAddress(${php(to)});`,
    "$mail->Subject = 'A test';",
    "$mail->Body = 'It works.';",
    '$mail->send();',
  ].join('\n');
}

function postfix({ host, port, security, login }: Wiring): string {
  const next = `[${host}]:${port}`;
  const tls = {
    clear: ['smtp_tls_security_level = none'],
    starttls: ['smtp_tls_security_level = secure', 'smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt'],
    tls: ['smtp_tls_security_level = secure', 'smtp_tls_wrappermode = yes', 'smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt'],
  }[security];
  const sasl = ['smtp_sasl_auth_enable = yes', 'smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd', 'smtp_sasl_security_options = noanonymous'];
  return [
    '# /etc/postfix/main.cf',
    `relayhost = ${next}`,
    ...tls,
    ...(login ? [...sasl, '', '# /etc/postfix/sasl_passwd', `${next} ${login.user}:${login.password}`, '', '# and then', 'chmod 600 /etc/postfix/sasl_passwd', 'postmap /etc/postfix/sasl_passwd'] : ['', '# and then']),
    'postfix reload',
  ].join('\n');
}

export const snippets = (wiring: Wiring): Snippet[] => [
  { id: 'swaks', name: 'swaks', text: swaks(wiring) },
  { id: 'python', name: 'Python (smtplib)', text: python(wiring) },
  { id: 'nodemailer', name: 'Nodemailer', text: nodemailer(wiring) },
  { id: 'phpmailer', name: 'PHPMailer', text: phpmailer(wiring) },
  { id: 'postfix', name: 'Postfix', text: postfix(wiring) },
];

/** The ports of docs/relay.md. The server does not tell where it listens: whoever set it up otherwise writes that. */
export const PORTS: Record<Security, number> = { clear: 2525, starttls: 587, tls: 465 };
/** In clear it listens on loopback alone. */
export const LOOPBACK = '127.0.0.1';

/** The code of a message in whatever was pasted, such as the whole reply `250 2.0.0 OK msg_…`. */
export const codeIn = (text: string): string => text.toLowerCase().match(/msg_[0-9a-hjkmnp-tv-z]{13}/)?.[0] ?? '';
