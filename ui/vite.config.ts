import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

declare const process: { env: Record<string, string | undefined> };

// The server allows no inline script and no inline style, so nothing may be put into the page itself.
export default defineConfig({
  plugins: [svelte()],
  build: {
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  // `npm run dev` shows these sources against a server that runs here; POSTRIDER_DEV names another address.
  server: {
    proxy: Object.fromEntries(['/api', '/healthz', '/readyz', '/pictures'].map((path) => [path, process.env.POSTRIDER_DEV ?? 'http://127.0.0.1:8025'])),
  },
});
