// An application is connected in the pages and hands its mail over by SMTP: the light turns green, what it may not do stands in the list,
// its message is found by its code, and once it is revoked what waits is held.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before } from 'node:test';
import { axe, launch, logIn, open } from './look.mjs';
import { freePort, fresh, world } from './program.mjs';
import { ANNA, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const opened = [];
const story = teller(opened);
let browser, sim, server, client, page, port, login, code;

before(async () => {
  [sim, browser, port] = await Promise.all([world(), launch(), freePort()]);
  server = await fresh({ ...sim.env, POSTRIDER_SUBMISSION_LISTEN: `127.0.0.1:${port}` });
  client = await settled(server);
  const here = await open(browser, { viewport: { width: 1280, height: 900 } });
  opened.push(here);
  page = here.page;
  page.setDefaultTimeout(20_000);
  await logIn(page, { url: server.url, ...ANNA });
});
after(async () => {
  await browser?.close();
  await server?.stop();
  sim?.stop();
});

const label = (text) => page.getByLabel(text, { exact: true });
const button = (name) => page.getByRole('button', { name });
const dialog = () => page.getByRole('dialog').last();

/** Hands one message over as an application does; the last reply, whatever it is. */
async function handOver({ from, to, subject, user, password }) {
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('utf8');
  socket.setTimeout(30_000, () => socket.destroy(new Error('no reply')));
  let text = '';
  let heard = () => {};
  let broken;
  socket.on('data', (chunk) => { text += chunk; heard(); });
  socket.on('error', (error) => { broken = error; heard(); });
  socket.on('close', () => { broken ??= new Error(`closed after: ${text}`); heard(); });
  /** The next reply, all its lines. */
  const reply = async () => {
    for (;;) {
      const whole = text.match(/^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\r?\n/);
      if (whole) {
        text = text.slice(whole[0].length);
        return whole[0].trim();
      }
      if (broken) throw broken;
      await new Promise((resolve) => (heard = resolve));
    }
  };
  const say = (line) => {
    socket.write(`${line}\r\n`);
    return reply();
  };
  try {
    let last = await reply();
    if (!last.startsWith('220')) return last;
    const plain = Buffer.from(`\0${user}\0${password}`).toString('base64');
    for (const line of ['EHLO app.test', `AUTH PLAIN ${plain}`, 'MAIL FROM:<bounces@app.test>', `RCPT TO:<${to}>`, 'DATA', `From: Shop <${from}>\r\nTo: ${to}\r\nSubject: ${subject}\r\n\r\nYour order is on its way.\r\n.`]) {
      last = await say(line);
      if (!/^[23]/.test(last)) break;
    }
    await say('QUIT');
    return last;
  } finally {
    socket.destroy();
  }
}

story('nothing is connected: the page says what to do, and what a form lacks is said in it', async () => {
  await page.goto(`${server.url}/applications`);
  await page.getByText('No application is connected yet.').waitFor();
  assert.deepEqual(await axe(page), []);
  await page.getByRole('main').getByRole('link', { name: 'Connect an application' }).last().click();
  await page.waitForURL(/\/applications\/new$/);
  await button('Connect').click();
  await page.getByText('Give it a name').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-invalid')), 'true', 'what lacks has the focus');
  // Without a password the networks and the domains are all there is.
  await page.getByRole('radio', { name: /^Its address alone/ }).check();
  await page.getByText('Tick at least one domain').waitFor();
  await page.getByText('Name at least one').waitFor();
  await page.getByRole('radio', { name: /^User name and password/ }).check();
  await label('Name').fill('Shop');
  await page.getByRole('checkbox', { name: 'accept.test' }).check();
  await page.getByText('Limits and route').click();
  await label('Messages a second').fill('-1');
  await button('Connect').click();
  await page.getByText('A whole number from 0 to 10,000').waitFor();
  assert.deepEqual(await axe(page), []);
  assert.deepEqual((await client.get('relay/credentials')).items, []);
  await label('Messages a second').fill('50');
});

story('the password is shown once, with all that a client has to be told', async () => {
  await button('Connect').click();
  await page.waitForURL(/\/applications\/crd_/);
  await page.getByText('The password is shown here once.').waitFor();
  const [made] = (await client.get('relay/credentials')).items;
  assert.deepEqual([made.name, made.from_domains, made.per_second, made.kind], ['Shop', ['accept.test'], 50, 'password']);
  // From elsewhere it is another way; what nobody told the page it does not make up.
  await label('Where the application runs').selectOption('starttls');
  await page.getByText('HOST stands for it below').waitFor();
  assert.match(await page.locator('pre').first().textContent(), /--server HOST --port 587 --tls /);
  await label('Host').fill('mail.accept.test');
  assert.match(await page.locator('pre').first().textContent(), /--server mail\.accept\.test --port 587 --tls /);
  await label('Where the application runs').selectOption('clear');
  await label('Port').fill(String(port));
  const fact = async (name) => (await page.locator('dl.pairs dt').filter({ hasText: new RegExp(`^${name}$`) }).locator('xpath=following-sibling::dd[1]//code').textContent()).trim();
  assert.deepEqual([await fact('Host'), await fact('Port'), await fact('User name')], ['127.0.0.1', String(port), made.username]);
  login = { user: made.username, password: await fact('Password') };
  assert.ok(login.password.length >= 20);
  for (const name of ['swaks', 'Python (smtplib)', 'Nodemailer', 'PHPMailer', 'Postfix']) {
    const shown = page.locator('details').filter({ has: page.locator('summary', { hasText: name }) });
    if (!(await shown.evaluate((one) => one.open))) await shown.locator('summary').click();
    const text = await shown.locator('pre').textContent();
    for (const word of [login.password, made.username, String(port), '127.0.0.1']) assert.ok(text.includes(word), `${name} has ${word}`);
    await shown.getByRole('button', { name: `Copy for ${name}` }).waitFor();
  }
  await page.getByText('Waits for the first message').waitFor();
  assert.deepEqual(await axe(page), []);
});

story('the light turns green with the first message', async () => {
  const reply = await handOver({ ...login, from: 'shop@accept.test', to: 'bob@accept.test', subject: 'Order 7' });
  assert.match(reply, /^250 2\.0\.0 OK msg_/);
  code = reply.match(/msg_\w+/)[0];
  // Nobody reloads the page.
  await page.getByText('It works: a message came').waitFor({ timeout: 15_000 });
  assert.deepEqual(await axe(page), []);
  await button('I have kept it: hide it').click();
  await page.getByText('was shown once').waitFor();
  assert.ok(!(await page.content()).includes(login.password), 'the password is gone');
});

story('the whole reply finds the message, with its deliveries and their attempts', async () => {
  await page.goto(`${server.url}/applications?show=message`);
  await label('Code').fill('no code');
  await button('Find').click();
  await page.getByText('A code is msg_').waitFor();
  await label('Code').fill(`250 2.0.0 OK ${code}`);
  await button('Find').click();
  await page.getByRole('heading', { name: 'Order 7' }).waitFor();
  await page.getByText('bounces@app.test').waitFor();
  const row = page.getByRole('row').filter({ hasText: 'bob@accept.test' });
  await row.filter({ hasText: 'accepted' }).waitFor({ timeout: 30_000 });
  assert.deepEqual(await axe(page), []);
  await row.getByRole('button', { name: /^Each attempt/ }).click();
  await dialog().getByText('bob@accept.test').waitFor();
  assert.deepEqual(await axe(page), []);
  await dialog().getByRole('button', { name: 'Close' }).click();
  await label('Code').fill('msg_0000000000000');
  await button('Find').click();
  await page.getByText('No message of this workspace has the code').waitFor();
});

story('who is no administrator finds messages, and sees nothing else of applications', async () => {
  const vera = { mailbox: 'vera@accept.test', name: 'Vera', password: 'another horse battery' };
  await client.post('accounts', { ...vera, role: 'viewer' });
  const here = await open(browser, { viewport: { width: 360, height: 780 } });
  opened.push(here);
  await logIn(here.page, { url: server.url, ...vera }, '/applications');
  for (const path of ['', '?show=refused', '/new', `/${(await client.get('relay/credentials')).items[0].id}`]) {
    await here.page.goto(`${server.url}/applications${path}`);
    await here.page.getByText('Only administrators of the workspace').waitFor();
    assert.equal(await here.page.getByRole('link', { name: 'Connect an application' }).count(), 0);
  }
  await here.page.goto(`${server.url}/applications?show=message&code=${code}`);
  await here.page.getByRole('heading', { name: 'Order 7' }).waitFor();
  assert.deepEqual(await axe(here.page), []);
  const wider = await here.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 1, `${wider} px wider than the window`);
  await here.context.close();
});

story('a From domain that is not its own is refused, and stands in the list; so does a stranger who is asked for', async () => {
  assert.match(await handOver({ ...login, from: 'ceo@elsewhere.test', to: 'bob@accept.test', subject: 'Pay' }), /^550 5\.7\.1/);
  assert.match(await handOver({ ...login, password: 'wrong', from: 'shop@accept.test', to: 'bob@accept.test', subject: 'x' }), /^535/);
  await page.goto(`${server.url}/applications?show=refused`);
  const row = page.getByRole('row').filter({ hasText: 'The From domain may not be used' });
  await row.filter({ hasText: 'elsewhere.test' }).filter({ hasText: '550 5.7.1' }).filter({ hasText: 'Shop' }).waitFor();
  assert.equal(await page.getByText('Wrong user name or password').count(), 0);
  await page.getByRole('checkbox', { name: /^Also clients that nobody knows/ }).check();
  await page.getByRole('row').filter({ hasText: 'Wrong user name or password' }).filter({ hasText: '127.0.0.1' }).waitFor();
  assert.deepEqual(await axe(page), []);
});

story('settings that somebody else changed meanwhile are not overwritten', async () => {
  const [before] = (await client.get('relay/credentials')).items;
  await page.goto(`${server.url}/applications/${before.id}`);
  await label('Name').fill('Shop of Anna');
  const path = `relay/credentials/${before.id}`;
  const settings = { rev: before.rev, name: 'Shop of Bruno', from_domains: before.from_domains, per_second: before.per_second };
  await client.call('PUT', path, settings);
  await button('Save').click();
  await page.getByText('Somebody else changed or revoked this application meanwhile.').waitFor();
  assert.deepEqual(await axe(page), []);
  await button('Show what is there now').click();
  await soon('theirs is shown', async () => (await label('Name').inputValue()) === 'Shop of Bruno');
  await label('Name').fill('Shop of both');
  await button('Save').click();
  await page.getByRole('heading', { level: 1, name: 'Shop of both' }).waitFor();
  assert.equal((await client.get(path)).name, 'Shop of both');
});

story('a new password ends the one before', async () => {
  await button('New password').click();
  await dialog().getByRole('button', { name: 'New password' }).click();
  await page.getByText('The password is shown here once.').waitFor();
  const next = (await page.locator('dl.pairs dt').filter({ hasText: /^Password$/ }).locator('xpath=following-sibling::dd[1]//code').textContent()).trim();
  assert.notEqual(next, login.password);
  await soon('the new one counts', async () => /^250/.test(await handOver({ ...login, password: next, from: 'shop@accept.test', to: 'late@defer.test', subject: 'Order 8' })));
  assert.match(await handOver({ ...login, from: 'shop@accept.test', to: 'bob@accept.test', subject: 'x' }), /^535/);
  login.password = next;
});

story('revoked: what waits is held, and nothing more is taken', async () => {
  await button('Revoke').click();
  await dialog().getByText('Its deliveries that still wait are held').waitFor();
  await dialog().getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('1 delivery was waiting and is held now.').waitFor();
  await page.getByText('Whatever it hands in is refused.').waitFor();
  assert.equal(await button('Save').count(), 0);
  assert.deepEqual(await axe(page), []);
  // Nobody else is known here, so the greeting already says no.
  await soon('it is refused', async () => /^554 5\.7\.1/.test(await handOver({ ...login, from: 'shop@accept.test', to: 'bob@accept.test', subject: 'x' })));
  await page.goto(`${server.url}/applications`);
  await page.getByText('Every application here was revoked.').waitFor();
  await page.getByRole('checkbox', { name: 'Show revoked ones too' }).check();
  await page.getByRole('row').filter({ hasText: 'Shop of both' }).filter({ hasText: 'revoked' }).waitFor();
  assert.deepEqual(await axe(page), []);
});
