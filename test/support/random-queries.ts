import fc from 'fast-check';

/** Text columns of each table with tenants; `number` is one that can be summed. */
const TABLES = {
  tenants: { texts: ['id', 'name'], number: 'length(name)' },
  customers: { texts: ['tenant_id', 'external_id', 'name'], number: 'id' },
  usage_events: { texts: ['tenant_id', 'event_id', 'endpoint', 'model', 'status'], number: 'tokens' },
  aggregation_windows: { texts: ['tenant_id', 'status'], number: 'total_tokens' },
  restriction_changes: { texts: ['tenant_id', 'subject', 'type'], number: 'length(outbox_id)' },
  budget_ledger: { texts: ['tenant_id', 'admission_id', 'kind', 'pipeline', 'priority'], number: 'settled' },
  budget_windows: { texts: ['tenant_id', 'level'], number: 'settled' },
  budget_versions: { texts: ['tenant_id', 'actor', 'reason'], number: 'version' },
} as const;

type Table = keyof typeof TABLES;
export const TABLE_NAMES = Object.keys(TABLES) as readonly Table[];

export function textColumns(table: Table): readonly string[] {
  return TABLES[table].texts;
}

/**
 * SQL that Postgres takes, of everything a SELECT can be made of, with two text columns, in an order. It knows no
 * tenant but by values it may guess.
 */
export function randomSql(guesses: readonly string[]): fc.Arbitrary<string> {
  const literal = fc.constantFrom(...guesses, 'accepted', 'closed', '', 'zzz').map((value) => `'${value}'`);
  const { select } = fc.letrec<{ select: string; condition: string }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 2, depthIdentifier: 'condition' },
      fc
        .tuple(fc.nat(4), fc.constantFrom('=', '<>', '<', '>=', 'LIKE'), literal)
        .map(([column, operator, value]) => `$${column} ${operator} ${value}`),
      fc.constantFrom('true', '$0 IS NOT NULL', 'random() >= 0', `$0 || $1 <> ''`),
      fc
        .tuple(tie('condition'), fc.constantFrom('AND', 'OR'), tie('condition'))
        .map((parts) => `(${parts.join(' ')})`),
      tie('condition').map((condition) => `NOT coalesce(${condition}, false)`),
      fc
        .tuple(fc.constantFrom('IN', 'NOT IN'), tie('select'))
        .map(
          ([operator, select]) => `$0 ${operator} (SELECT a FROM (${select}) AS inside WHERE a IS NOT NULL)`,
        ),
      tie('select').map((select) => `EXISTS (SELECT FROM (${select}) AS inside WHERE inside.a <> $0)`),
    ),
    select: fc.oneof(
      { maxDepth: 2, depthIdentifier: 'select' },
      plain(tie('condition')),
      grouped(tie('condition')),
      joined(tie('condition')),
      fc
        .tuple(tie('select'), fc.constantFrom('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'), tie('select'))
        .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
      tie('select').map(
        (inner) => `WITH c AS MATERIALIZED (${inner}) SELECT b AS a, max(a) OVER () AS b FROM c`,
      ),
      fc
        .tuple(plain(tie('condition')), tie('select'))
        .map(
          ([outer, inner]) =>
            `SELECT o.a, i.b FROM (${outer}) AS o, LATERAL (SELECT b FROM (${inner}) AS x WHERE x.a <> o.a ORDER BY b LIMIT 1) AS i`,
        ),
    ),
  }));
  return select.map((sql) => `SELECT a, b FROM (${sql}) AS q ORDER BY a, b`);
}

const table = fc.constantFrom(...TABLE_NAMES);

/** `$n` in a condition is the n-th text column of the table, round and round. */
function named(condition: string, of: Table, alias: string): string {
  const { texts } = TABLES[of];
  return condition.replaceAll(/\$(\d)/g, (_, n) => `${alias}.${texts[Number(n) % texts.length]}`);
}

function plain(condition: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(table, fc.nat(4), condition)
    .map(
      ([from, column, where]) =>
        `SELECT ${named(`$${column}`, from, 't')} AS a, t::text AS b FROM ${from} AS t WHERE ${named(where, from, 't')}`,
    );
}

function grouped(condition: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(table, fc.nat(4), condition, condition).map(
    ([from, column, where, filter]) =>
      `SELECT ${named(`$${column}`, from, 't')} AS a,
         count(*)::text || ' ' || coalesce(sum(${TABLES[from].number}) FILTER (WHERE ${named(filter, from, 't')}), 0)::text || ' '
         || string_agg(DISTINCT ${named('$1', from, 't')}, ',') AS b
       FROM ${from} AS t WHERE ${named(where, from, 't')} GROUP BY ROLLUP (1)`,
  );
}

function joined(condition: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(table, table, fc.constantFrom('JOIN', 'LEFT JOIN', 'FULL JOIN'), fc.nat(4), condition).map(
    ([left, right, join, column, where]) =>
      `SELECT ${named('$0', left, 't')} AS a, ${named(`$${column}`, right, 'u')} AS b
         FROM ${left} AS t ${join} ${right} AS u ON ${named('$0', left, 't')} = ${named('$0', right, 'u')}
         WHERE ${named(where, left, 't')}`,
  );
}
