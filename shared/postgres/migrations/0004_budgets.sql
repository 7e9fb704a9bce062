-- Up Migration
-- Budgets: how they were configured (budget_versions), every change of what is held and settled (budget_ledger), and
-- the windows as they ended (budget_windows).

-- A table a day: for any table ------------------------------------------------------------------------------------

CREATE FUNCTION weir_private.ensure_day(parent text, day date) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text := parent || to_char(day, '_YYYYMMDD');
BEGIN
  IF to_regclass('public.' || name) IS NOT NULL THEN
    RETURN;
  END IF;
  -- One at a time; who waited looks again, in the catalog itself: to_regclass may remember that there was none.
  PERFORM pg_advisory_xact_lock(hashtext('weir.days.' || parent));
  IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = name) THEN
    RETURN;
  END IF;
  -- CREATE … PARTITION OF would lock all of the table; ATTACH lets reads and writes go on.
  EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', name, parent);
  -- Nobody is granted anything here; with row security and no policy not even a grant by mistake shows a row.
  EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
  EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent,
    name, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
END
$$;
COMMENT ON FUNCTION weir_private.ensure_day(text, date) IS
  'Makes the table of a day (UTC) of a table that is partitioned by day, unless it exists. Safe from several sessions at once; blocks neither reads nor writes.';
REVOKE ALL ON FUNCTION weir_private.ensure_day(text, date) FROM PUBLIC;

CREATE FUNCTION weir_private.drop_days(parent text, before date) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text;
  dropped integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('weir.days.' || parent));
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = ('public.' || parent)::regclass
      AND c.relname ~ ('^' || parent || '_[0-9]{8}$')
      AND to_date(right(c.relname, 8), 'YYYYMMDD') < before
    ORDER BY c.relname
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END
$$;
COMMENT ON FUNCTION weir_private.drop_days(text, date) IS
  'Drops the tables of all days before this one of a table that is partitioned by day; returns how many.';
REVOKE ALL ON FUNCTION weir_private.drop_days(text, date) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.ensure_usage_partition(day date) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '2s'
AS $$ SELECT weir_private.ensure_day('usage_events', day) $$;

CREATE OR REPLACE FUNCTION public.drop_usage_partitions(before date) RETURNS integer
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '2s'
AS $$ SELECT weir_private.drop_days('usage_events', before) $$;

CREATE FUNCTION public.ensure_ledger_partition(day date) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '2s'
AS $$ SELECT weir_private.ensure_day('budget_ledger', day) $$;
COMMENT ON FUNCTION public.ensure_ledger_partition(date) IS
  'Makes the partition of a day (UTC) of budget_ledger unless it exists. Safe from several sessions at once; blocks neither reads nor writes.';
REVOKE ALL ON FUNCTION public.ensure_ledger_partition(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.ensure_ledger_partition(date) TO weir_sink;

CREATE FUNCTION public.drop_ledger_partitions(before date) RETURNS integer
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '2s'
AS $$ SELECT weir_private.drop_days('budget_ledger', before) $$;
COMMENT ON FUNCTION public.drop_ledger_partitions(date) IS
  'Drops the partitions of budget_ledger of all days before this one; returns how many. Fails after 2 s (55P03) while a query reads it: call again.';
REVOKE ALL ON FUNCTION public.drop_ledger_partitions(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.drop_ledger_partitions(date) TO weir_sink;

-- The ledger ------------------------------------------------------------------------------------------------------

CREATE TABLE public.budget_ledger (
  at timestamptz(3) NOT NULL,
  tenant_id text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  seq bigint NOT NULL,
  kind text COLLATE "C" NOT NULL CHECK (
    kind IN ('grant', 'settle', 'overrun', 'late_settle', 'cancel', 'expire', 'fail_open', 'reset')),
  window_start timestamptz(3) NOT NULL,
  path text[] COLLATE "C" NOT NULL,
  held bigint NOT NULL,
  settled bigint NOT NULL,
  tokens bigint,
  admission_id text COLLATE "C",
  pipeline text COLLATE "C",
  priority text COLLATE "C" CHECK (priority IN ('P0', 'P1', 'P2')),
  PRIMARY KEY (at, tenant_id, epoch, seq)
) PARTITION BY RANGE (at);
COMMENT ON TABLE public.budget_ledger IS
  'Every change of what is held and settled, once. One table a day (UTC): budget_ledger_20261120. No foreign keys: the sink makes the tenant in the step before.';
COMMENT ON COLUMN public.budget_ledger.at IS 'The partition''s time of the decision.';
COMMENT ON COLUMN public.budget_ledger.epoch IS
  'When the tenant''s ledger in Redis began, ms since 1970: tells it from one that Redis has lost.';
COMMENT ON COLUMN public.budget_ledger.seq IS 'Counts 1, 2, 3, … within the epoch, without a gap.';
COMMENT ON COLUMN public.budget_ledger.window_start IS 'The window it changes; may be over already.';
COMMENT ON COLUMN public.budget_ledger.path IS 'The levels it changes, each by held and settled; the root first. Empty for a reset.';
COMMENT ON COLUMN public.budget_ledger.held IS 'What it adds to the tokens held.';
COMMENT ON COLUMN public.budget_ledger.settled IS 'What it adds to the tokens settled.';
COMMENT ON COLUMN public.budget_ledger.tokens IS 'A grant''s estimate, a settle''s actual tokens.';
COMMENT ON COLUMN public.budget_ledger.admission_id IS 'NULL for a reset.';
COMMENT ON INDEX public.budget_ledger_pkey IS
  'No entry twice: the sink''s INSERT … ON CONFLICT DO NOTHING. The reconciler: the entries of a span, tenant by tenant, in order.';
CREATE INDEX budget_ledger_window ON public.budget_ledger (tenant_id, epoch, window_start);
COMMENT ON INDEX public.budget_ledger_window IS 'The reconciler: the entries of a window, to sum them up.';

-- Windows as they ended -------------------------------------------------------------------------------------------

CREATE TABLE public.budget_windows (
  tenant_id text COLLATE "C" NOT NULL REFERENCES public.tenants (id),
  epoch bigint NOT NULL,
  window_start timestamptz(3) NOT NULL,
  level text COLLATE "C" NOT NULL,
  window_end timestamptz(3) NOT NULL,
  revision integer NOT NULL CHECK (revision > 0),
  version integer NOT NULL,
  entries bigint NOT NULL,
  token_limit bigint,
  settled bigint NOT NULL,
  admitted bigint NOT NULL,
  degraded bigint NOT NULL,
  refused bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (window_start < window_end),
  PRIMARY KEY (tenant_id, epoch, window_start, level)
);
COMMENT ON TABLE public.budget_windows IS
  'What each level of a tenant used in a window, from when nothing of it was held any more. A higher revision replaces it.';
COMMENT ON COLUMN public.budget_windows.epoch IS 'As in budget_ledger.';
COMMENT ON COLUMN public.budget_windows.revision IS
  '1 when its last hold had ended, one more whenever something was given back after.';
COMMENT ON COLUMN public.budget_windows.version IS 'Version of the budgets when it ended; 0: the defaults.';
COMMENT ON COLUMN public.budget_windows.entries IS 'Entries of budget_ledger about the window (not: about this level).';
COMMENT ON COLUMN public.budget_windows.token_limit IS 'NULL: the level was removed while the window was open.';
COMMENT ON COLUMN public.budget_windows.refused IS 'Requests that this very level refused.';
COMMENT ON INDEX public.budget_windows_pkey IS 'The sink''s upsert; the reconciler: the levels of a window.';
CREATE INDEX budget_windows_recent ON public.budget_windows (window_start, tenant_id, epoch);
COMMENT ON INDEX public.budget_windows_recent IS 'The reconciler: the windows of a span, of all tenants.';
CREATE TRIGGER touch BEFORE UPDATE ON public.budget_windows FOR EACH ROW EXECUTE FUNCTION public.weir_touch();

-- How they were configured ----------------------------------------------------------------------------------------

CREATE TABLE public.budget_versions (
  tenant_id text COLLATE "C" NOT NULL REFERENCES public.tenants (id),
  applied_at timestamptz(3) NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  document jsonb NOT NULL,
  actor text NOT NULL,
  reason text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, applied_at, version)
);
COMMENT ON TABLE public.budget_versions IS
  'Every change of a tenant''s budgets. The newest of each tenant is what a Redis that has lost it gets back.';
COMMENT ON COLUMN public.budget_versions.applied_at IS
  'The partition''s time when it was applied; 1970: a seed, which anything else is newer than.';
COMMENT ON COLUMN public.budget_versions.document IS 'As people write it: PUT /budgets without actor and reason.';
COMMENT ON INDEX public.budget_versions_pkey IS
  'GET /budgets/versions: a tenant''s, newest first, with a cursor; heal-budgets: the newest of every tenant; the sink''s INSERT … ON CONFLICT DO NOTHING.';

-- The same as DEFAULT_BUDGETS in shared/state/budget-config.ts; a test compares them. FORCE binds the owner, who has
-- no policy: it is lifted for this one row.
ALTER TABLE public.tenants NO FORCE ROW LEVEL SECURITY;
INSERT INTO public.tenants (id, name) VALUES ('default', 'default') ON CONFLICT DO NOTHING;
ALTER TABLE public.tenants FORCE ROW LEVEL SECURITY;
INSERT INTO public.budget_versions (tenant_id, applied_at, version, actor, reason, document)
VALUES ('default', to_timestamp(0), 1, 'weir', 'defaults', '{
  "window_seconds": null,
  "max_request_share": 0.1,
  "degraded_debit": 0.5,
  "levels": [
    {"name": "global", "parent": null, "limit": 1000000, "soft_threshold": 0.85, "hard_threshold": 0.95, "p0_threshold": 1.5},
    {"name": "monitoring", "parent": "global", "limit": 350000, "soft_threshold": 0.85, "hard_threshold": 0.95, "p0_threshold": 1.5},
    {"name": "enrichment", "parent": "global", "limit": 350000, "soft_threshold": 0.85, "hard_threshold": 0.95, "p0_threshold": 1.5},
    {"name": "ranking", "parent": "global", "limit": 300000, "soft_threshold": 0.85, "hard_threshold": 0.95, "p0_threshold": 1.5}
  ]
}');

-- Row level security, as in 0001 ----------------------------------------------------------------------------------

ALTER TABLE public.budget_ledger ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.budget_ledger FORCE ROW LEVEL SECURITY;
ALTER TABLE public.budget_windows ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.budget_windows FORCE ROW LEVEL SECURITY;
ALTER TABLE public.budget_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.budget_versions FORCE ROW LEVEL SECURITY;

CREATE POLICY own_tenant ON public.budget_ledger FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));
CREATE POLICY own_tenant ON public.budget_windows FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));
CREATE POLICY own_tenant ON public.budget_versions FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));

CREATE POLICY all_tenants ON public.budget_ledger TO weir_sink USING (true) WITH CHECK (true);
CREATE POLICY all_tenants ON public.budget_windows TO weir_sink USING (true) WITH CHECK (true);
CREATE POLICY all_tenants ON public.budget_versions TO weir_sink USING (true) WITH CHECK (true);

GRANT SELECT ON public.budget_ledger, public.budget_windows, public.budget_versions TO weir_app;
GRANT SELECT, INSERT ON public.budget_ledger, public.budget_versions TO weir_sink;
GRANT SELECT, INSERT, UPDATE ON public.budget_windows TO weir_sink;
