import { expect } from 'chai';
import { RULES } from '../../../rules/restrictions/registry.js';
import { VERSION } from '../../../shared/version.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';

const CONTRACT = [
  ...['request_count_total', 'request_duration_seconds', 'in_flight_requests', 'queue_depth'],
  'dropped_requests_total',
];
const PARTITIONS = ['events', 'usage', 'admissions'].flatMap((topic) => [`${topic}.0`, `${topic}.1`]);
const rules = RULES.map(({ name }) => name);

describe('contract: metrics at the start', () => {
  let weir: WeirFixture;
  let worker: string;

  beforeEach(async () => {
    weir = await WeirFixture.start({
      settings: { ...NO_TRIPWIRE, PARTITIONS: '2', TRIPWIRE_MIN_POPULATION: '1', TRIPWIRE_MAX_USERS: '1' },
      workers: 0,
      postgres: true,
    });
    worker = (await weir.worker()).opsUrl;
  });
  afterEach(() => weir.close());

  const metricsOf = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

  /** Names of weir's metrics that have no value at all. */
  function emptyOf(text: string): readonly string[] {
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
    return names
      .filter((name) => name.startsWith('weir_') || CONTRACT.includes(name))
      .filter((name) => !new RegExp(`^${name}(_bucket|_sum|_count)?(\\{.*\\})? \\S+$`, 'm').test(text));
  }

  it('leaves no metric of the API or of a worker without a value', async () => {
    const [api, ofWorker] = await Promise.all([metricsOf(weir.http.url), metricsOf(worker)]);
    for (const text of [api, ofWorker]) expect(emptyOf(text)).to.deep.equal([]);
    for (const name of CONTRACT) expect(api).to.match(new RegExp(`^# TYPE ${name} `, 'm'));
    // A metric that no label was ever given to is what this looks for.
    expect(emptyOf('# TYPE weir_x_total counter\n# TYPE weir_y gauge\nweir_y{a="b"} 0\n')).to.deep.equal([
      'weir_x_total',
    ]);
  });

  it('has every label of the API at 0', async () => {
    const text = await metricsOf(weir.http.url);
    for (const line of [
      ...['202', '422', '429', '500', '503'].map(
        (status) => `request_count_total{method="POST",route="/event",status="${status}"} 0`,
      ),
      ...['events', 'usage', 'admissions'].map((topic) => `queue_depth{topic="${topic}"} 0`),
      ...['backlog_full', 'store_unavailable', 'overloaded', 'undecided'].map(
        (reason) => `dropped_requests_total{reason="${reason}"} 0`,
      ),
      'request_duration_seconds_count{method="POST",route="/event"} 0',
      ...rules.map((rule) => `weir_tripwire_tripped{rule="${rule}"} 0`),
      `weir_build_info{version="${VERSION}"} 1`,
    ]) {
      expect(text.split('\n')).to.include(line);
    }
  });

  it('has every label of a worker', async () => {
    const text = await metricsOf(worker);
    const kinds = ['rule_hits', 'rule_shadow_hits', 'rule_denied', 'restrictions_lifted'];
    const labels = [
      ...rules.flatMap((rule) => [
        `weir_tripwire_trips_total{rule="${rule}"}`,
        `weir_tripwire_tripped{rule="${rule}"}`,
        `weir_rule_errors_total{rule="${rule}"}`,
        ...kinds.map((kind) => `weir_rule_events_total{rule="${rule}",kind="${kind}"}`),
      ]),
      ...PARTITIONS.flatMap((partition) => [
        ...['released', 'lost', 'newer', 'failed'].map(
          (kind) => `weir_lease_changes_total{partition="${partition}",kind="${kind}"}`,
        ),
        `weir_dead_letters_total{partition="${partition}"}`,
        `weir_dedupe_window_cuts_total{partition="${partition}"}`,
        `weir_partition_waiting{partition="${partition}"}`,
        `weir_dead_letters{partition="${partition}"}`,
      ]),
      ...['accepted', 'duplicate', 'dead'].map((outcome) => `weir_messages_total{outcome="${outcome}"}`),
      ...['reconcile', 'retention', 'migrations'].map((name) => `weir_lock_lost_total{name="${name}"}`),
    ];
    for (const label of labels) expect(text.split('\n')).to.include(`${label} 0`);
    expect(text.split('\n')).to.include(`weir_build_info{version="${VERSION}"} 1`);
    expect(await (await fetch(`${worker}/health`)).json()).to.deep.equal({ status: 'ok', version: VERSION });
  });

  it('shows the first trip of a tripwire as an increase, and whether it is tripped', async () => {
    const rule = 'scam_message_rule';
    const trips = `weir_tripwire_trips_total{rule="${rule}"}`;
    expect(await metricsOf(worker)).to.include(`${trips} 0\n`);
    for (const user of ['a', 'b', 'c']) {
      for (let flags = 0; flags < 2; flags++) {
        await weir.http.post('/event', { name: 'scam_message_flagged', event_properties: { user_id: user } });
      }
    }
    await until(10_000, 'it has tripped once', async () =>
      (await metricsOf(worker)).includes(`${trips} 1\n`),
    );
    const tripped = `weir_tripwire_tripped{rule="${rule}"}`;
    for (const url of [weir.http.url, worker]) expect(await metricsOf(url)).to.include(`${tripped} 1\n`);
    await weir.http.post(`/rules/${rule}/rearm`);
    for (const url of [weir.http.url, worker]) expect(await metricsOf(url)).to.include(`${tripped} 0\n`);
    expect(await metricsOf(worker)).to.include(`${trips} 1\n`);
  });

  it('names itself and its documentation under /', async () => {
    const { status, body } = await weir.http.get<Record<string, unknown>>('/');
    expect(status).to.equal(200);
    expect(body).to.deep.equal({
      ...{ name: 'weir', version: VERSION, documentation: 'docs/http-api.md' },
      links: { health: '/health', ready: '/ready', metrics: '/metrics', rules: '/rules' },
    });
    for (const path of Object.values(body['links'] as Record<string, string>)) {
      expect((await weir.http.get(path)).status, path).not.to.equal(404);
    }
  });
});
