// Shows a message as a mail program would. This page has another policy than the application (styles inside the message, images
// from anywhere), runs without an origin of its own, and shows the message in one more frame in which nothing can run.

const frame = document.createElement('iframe');
frame.setAttribute('sandbox', '');
frame.title = 'Message';
for (const [name, value] of Object.entries({ position: 'absolute', inset: '0', width: '100%', height: '100%', border: '0' })) {
  frame.style.setProperty(name, value);
}
document.body.append(frame);

addEventListener('message', (event) => {
  if (event.source !== parent || typeof event.data?.html !== 'string') return;
  const { html: given, images = true } = event.data;
  // A policy does not stop `<link rel=prefetch>`; no mail program follows links of a message's head, so they go.
  const page = new DOMParser().parseFromString(given, 'text/html');
  for (const link of page.querySelectorAll('link')) link.remove();
  // Whatever leads elsewhere asks for a window, which the empty sandbox refuses: the message stays. Followed inside of the frame
  // it would end on a refused address, and the frame would be blank. Places within the message can be gone to.
  for (const meta of page.querySelectorAll('meta[http-equiv]')) if (/^\s*refresh\s*$/i.test(meta.httpEquiv)) meta.remove();
  for (const base of page.querySelectorAll('base')) base.remove();
  for (const link of page.querySelectorAll('a, area, form')) {
    const to = link.getAttribute('href') ?? link.getAttribute('xlink:href') ?? '';
    if (to.startsWith('#')) link.removeAttribute('target');
    else link.setAttribute('target', '_blank');
  }
  // And those that only the frame itself will see, in a shadow tree.
  page.head.insertAdjacentHTML('afterbegin', '<base target="_blank">');
  const html = `${page.doctype ? '<!doctype html>' : ''}${page.documentElement.outerHTML}`;
  // Without pictures nothing is loaded at all, letters included.
  const policy = images ? '' : '<meta http-equiv="content-security-policy" content="default-src \'none\'; style-src \'unsafe-inline\'">';
  frame.srcdoc = policy ? `<!doctype html>${policy}${html}` : html;
});
parent.postMessage('postrider-frame', '*');
