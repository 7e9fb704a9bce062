import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { install } from './install.mjs';

/**
 * `npm run load [-- producers readers usage budgets]`: a weir of its own (API, two workers, private stores) on a free loopback
 * port, the scenarios against it one after the other, everything stopped. Exit code 1 if a threshold failed.
 */
const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const artillery = join(here, 'node_modules', 'artillery', 'bin', 'run');
const HOST = '127.0.0.1';
const READY_MS_MAX = 30_000;
const SCENARIO_MS_MAX = 90_000;
const STOP_MS_MAX = 30_000;
/** For `budgets`: several windows within a run, and no answer that nobody has decided. The others do without budgets. */
const SETTINGS = { BUDGET_WINDOW_SECONDS: '5', FAIL_MODE: 'closed' };

/** What we started and has not ended. */
const running = new Set();

function start(command, args, options) {
  const child = spawn(command, args, options);
  const entry = { child, ended: new Promise((resolve) => child.once('close', resolve)) };
  running.add(entry);
  child.once('error', (error) => fail(`${command} cannot be started: ${error.message}`));
  child.once('exit', () => running.delete(entry));
  return entry;
}

/** Waits for the end of what was started. @returns its exit code, null if it took too long and was stopped */
async function finished(entry, deadlineMs) {
  const timer = setTimeout(() => entry.child.kill('SIGKILL'), deadlineMs);
  const code = await entry.ended;
  clearTimeout(timer);
  return code;
}

async function stop(entry) {
  entry.child.kill('SIGTERM');
  await finished(entry, STOP_MS_MAX);
}

/** @returns the URL of a weir that is ready */
async function startWeir(dataDir) {
  const port = await freePort();
  const { PATH, HOME, TERM } = process.env;
  const weir = start(process.execPath, ['dist/shared/launcher/main.js'], {
    cwd: root,
    // Nothing of the caller's own settings: a REDIS_URL that is used for something else stays untouched.
    env: {
      ...{ PATH, HOME, TERM },
      ...{ HOST, PORT: String(port), WORKERS: '2', WEIR_DATA_DIR: dataDir, LOG_LEVEL: 'warn' },
      ...SETTINGS,
      // The launcher ends with the process that runs it when that is called `start`: here too, even after kill -9.
      npm_lifecycle_event: 'start',
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const url = `http://${HOST}:${port}`;
  const deadline = performance.now() + READY_MS_MAX;
  while (performance.now() < deadline && weir.child.exitCode === null) {
    const response = await fetch(`${url}/ready`).catch(() => undefined);
    if (response?.status === 200) return url;
    await sleep(100);
  }
  throw new Error('weir is not ready');
}

/** @returns whether all thresholds held */
async function runScenario(name, url, reportFile) {
  say(`${name}: about 20 s against ${url}`);
  const { PATH, HOME, TERM } = process.env;
  const run = start(
    process.execPath,
    [artillery, 'run', '--quiet', '--target', url, '--output', reportFile, `${name}.yml`],
    {
      cwd: here,
      // Loopback only: nothing is told to anybody. WORKERS means something else to artillery.
      env: { PATH, HOME, TERM, ARTILLERY_DISABLE_TELEMETRY: '1', NO_UPDATE_NOTIFIER: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let output = '';
  run.child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const code = await finished(run, SCENARIO_MS_MAX);
  const report = await readFile(reportFile, 'utf8').catch(() => undefined);
  if (report !== undefined) process.stdout.write(`${summary(JSON.parse(report).aggregate)}\n`);
  process.stdout.write(`${output.replace(/^Test run id:.*\n/m, '').trim()}\n`);
  if (code === null) say(`${name}: stopped after ${SCENARIO_MS_MAX / 1000} s`);
  return code === 0;
}

function summary({ counters, rates, summaries }) {
  const times = summaries['http.response_time'] ?? {};
  const shown = ['min', 'median', 'p95', 'p99', 'max'].map((key) => `${key} ${times[key]} ms`).join(', ');
  const codes = Object.entries(counters)
    .filter(([key]) => /^(http\.codes|errors|vusers\.failed)/.test(key))
    .map(([key, count]) => `${key} ${count}`);
  return [
    `  requests  ${counters['http.requests']}, ${rates['http.request_rate']}/s`,
    `  times     ${shown}`,
    `  answers   ${codes.join(', ')}`,
    ...admissionLines(counters),
  ].join('\n');
}

/** What became of admissions, by priority; nothing where none were asked for. */
function admissionLines(counters) {
  const priorities = ['P0', 'P1', 'P2'].filter((each) => counters[`admissions.${each}.asked`] > 0);
  if (priorities.length === 0) return [];
  const lines = priorities.map((priority) => {
    const count = (outcome) => counters[`admissions.${priority}.${outcome}`];
    const share = ((count('refused') / count('asked')) * 100).toFixed(1);
    const counts = ['asked', 'admitted', 'degraded', 'refused'].map((each) => String(count(each)));
    return [priority, ...counts, `${share} %`];
  });
  const titles = ['', 'asked', 'admitted', 'degraded', 'refused', 'share'];
  return [titles, ...lines].map((cells) => `  ${cells.map((cell) => cell.padStart(9)).join('')}`);
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, HOST, resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function say(text) {
  process.stdout.write(`\nload: ${text}\n`);
}

let folder;
let ending = false;

/** Stops everything, the last first, and leaves. */
async function end(code) {
  if (ending) return;
  ending = true;
  for (const entry of [...running].reverse()) await stop(entry);
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  process.exit(code);
}

function fail(message) {
  process.stderr.write(`load: ${message}\n`);
  void end(1);
}

async function main(names) {
  for (const name of names) {
    if (!existsSync(join(here, `${name}.yml`))) throw new Error(`there is no scenario ${name}`);
  }
  install('artillery');
  folder = await mkdtemp(join(tmpdir(), 'weir-load-'));
  // Where we are root Postgres runs as another user, whose data would otherwise lie elsewhere and stay there.
  await chmod(folder, 0o711);
  const url = await startWeir(join(folder, 'data'));
  const failed = [];
  for (const name of names) {
    if (!(await runScenario(name, url, join(folder, `${name}.json`)))) failed.push(name);
  }
  say(failed.length === 0 ? 'all thresholds held' : `thresholds failed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void end(130));
const names = process.argv.slice(2);
main(names.length > 0 ? names : ['producers', 'readers', 'usage', 'budgets']).then(end, (error) =>
  fail(error.message),
);
