// Modules of the editor for tests: plain data in, plain data out, so that they run without a browser.

import { readFileSync } from 'node:fs';
import ts from 'typescript';

/** The address of a module of the editor and of what it needs, without their types. Node 20 reads no TypeScript. */
function address(path) {
  const source = readFileSync(new URL(`../src/screens/campaigns/editor/${path}`, import.meta.url), 'utf8');
  const { outputText } = ts.transpileModule(source, { compilerOptions: { target: 'ES2022', module: 'ESNext' } });
  const whole = outputText.replace(/ from '\.\/(\w+)'/g, (_, name) => ` from '${address(`${name}.ts`)}'`);
  return `data:text/javascript;base64,${Buffer.from(whole).toString('base64')}`;
}
export const load = (path) => import(address(path));
