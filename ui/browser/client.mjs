// The API for stories: as a person, with a cookie, for what a story needs before it begins.

/** Somebody who is logged in at `url`. */
export class Client {
  constructor(url) {
    this.url = url;
    this.cookie = '';
  }

  async call(method, path, body, headers = {}) {
    const raw = body === undefined || typeof body === 'string' || body instanceof FormData;
    const answer = await fetch(`${this.url}/api/v1/${path}`, {
      method,
      headers: { origin: this.url, cookie: this.cookie, ...(raw ? {} : { 'content-type': 'application/json' }), ...headers },
      body: raw ? body : JSON.stringify(body),
    });
    const cookie = answer.headers.getSetCookie()[0];
    if (cookie) this.cookie = cookie.split(';')[0];
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  get(path) {
    return this.call('GET', path);
  }

  post(path, body = {}, headers = {}) {
    return this.call('POST', path, body, { 'idempotency-key': `story-${Math.random()}`, ...headers });
  }

  /** Sets the server up and logs in. */
  async setUp(code, administrator, workspace) {
    await this.post('setup', { code, administrator, workspace });
    await this.post('session', { mailbox: administrator.mailbox, password: administrator.password });
  }

  /** Until `done` says so. */
  async until(what, done, seconds = 60) {
    for (let i = 0; i < seconds * 4; i += 1) {
      const got = await done();
      if (got) return got;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    throw new Error(`not in ${seconds} s: ${what}`);
  }
}
