-- Up Migration
-- Metering: who (tenants, customers), what was used (usage_events), and the sums of it (aggregation_windows).
--
-- Run by the owner, after the group roles weir_app (reads as one tenant) and weir_sink (writes for all) exist.
-- Ids are compared byte by byte (COLLATE "C"): faster, and no index depends on the version of a locale.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO weir_app, weir_sink;

-- Tenant context ------------------------------------------------------------------------------------------------

-- The schema weir_private and its table `migrations` are made by the migration runner. Only the owner has a look.
REVOKE ALL ON SCHEMA weir_private FROM PUBLIC;

CREATE TABLE weir_private.tenant_key (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  key text NOT NULL
);
COMMENT ON TABLE weir_private.migrations IS 'What was applied; kept by the migration runner.';
COMMENT ON INDEX weir_private.migrations_pkey IS 'The migration runner: what was applied, in order?';
COMMENT ON INDEX weir_private.tenant_key_pkey IS 'migrate(): replaces the one row.';
COMMENT ON TABLE weir_private.tenant_key IS
  'One row: what weir_current_tenant() checks proofs with. Derived from the owner''s password, rewritten by migrate().';

CREATE FUNCTION public.weir_current_tenant() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tenant text := current_setting('weir.tenant', true);
  proof text := current_setting('weir.tenant_proof', true);
  secret text;
BEGIN
  IF tenant IS NULL OR tenant = '' THEN
    RAISE EXCEPTION 'weir: no tenant in this transaction' USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT key INTO secret FROM weir_private.tenant_key;
  -- NULL, because there is no key or no proof, is no match either.
  IF (proof = encode(sha256(convert_to(secret || ':' || tenant || ':' || secret, 'UTF8')), 'hex')) IS NOT TRUE THEN
    RAISE EXCEPTION 'weir: no proof for this tenant' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN tenant;
END
$$;
COMMENT ON FUNCTION public.weir_current_tenant() IS
  'The tenant of this transaction (setting weir.tenant). Raises without one, or if weir.tenant_proof does not prove it.';
REVOKE ALL ON FUNCTION public.weir_current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.weir_current_tenant() TO weir_app;

CREATE FUNCTION public.weir_schema_version() RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$ SELECT max(name COLLATE "C") FROM weir_private.migrations $$;
COMMENT ON FUNCTION public.weir_schema_version() IS 'Name of the newest migration applied: what /ready compares.';
REVOKE ALL ON FUNCTION public.weir_schema_version() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.weir_schema_version() TO weir_app, weir_sink;

CREATE FUNCTION public.weir_touch() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION public.weir_touch() IS 'Trigger: keeps updated_at, whoever writes.';
REVOKE ALL ON FUNCTION public.weir_touch() FROM PUBLIC;

-- Who -----------------------------------------------------------------------------------------------------------

CREATE TABLE public.tenants (
  id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  name text NOT NULL,
  active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.tenants IS 'Who pays for customers. Made by the sink when first seen, with the id as its name.';
COMMENT ON INDEX public.tenants_pkey IS 'The sink: does this tenant exist? (INSERT … ON CONFLICT DO NOTHING)';

CREATE TABLE public.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL REFERENCES public.tenants (id),
  external_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, external_id),
  UNIQUE (tenant_id, id)
);
COMMENT ON TABLE public.customers IS 'Whose usage is counted. Made by the sink when first seen, with the external id as its name.';
COMMENT ON COLUMN public.customers.external_id IS 'customerId of the usage events: the tenant''s own name for it.';
COMMENT ON INDEX public.customers_pkey IS 'Joins from usage_events and aggregation_windows by id.';
COMMENT ON INDEX public.customers_tenant_id_external_id_key IS
  'Every query of a customer''s usage begins here: id by tenant and customerId; the sink: does this customer exist?';
COMMENT ON INDEX public.customers_tenant_id_id_key IS
  'The foreign key of aggregation_windows: a window can only be of a customer of its own tenant.';

-- What was used -------------------------------------------------------------------------------------------------

CREATE TABLE public.usage_events (
  accepted_at timestamptz(3) NOT NULL,
  partition smallint NOT NULL,
  entry_seq integer NOT NULL,
  message_index smallint NOT NULL,
  tenant_id text COLLATE "C" NOT NULL,
  customer_id bigint NOT NULL,
  event_id text COLLATE "C" NOT NULL,
  event_at timestamptz(3) NOT NULL,
  window_start timestamptz(3) NOT NULL,
  status text COLLATE "C" NOT NULL CHECK (status IN ('accepted', 'late', 'duplicate', 'dead')),
  window_revision integer NOT NULL,
  endpoint text COLLATE "C" NOT NULL,
  model text COLLATE "C",
  tokens bigint NOT NULL,
  input_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  latency_us bigint,
  metadata jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (accepted_at, partition, entry_seq, message_index)
) PARTITION BY RANGE (accepted_at);
COMMENT ON TABLE public.usage_events IS
  'Every message of the topic usage, once, with what became of it. One table a day (UTC): usage_events_20261120. No foreign keys: the sink makes the customer in the step before.';
COMMENT ON COLUMN public.usage_events.accepted_at IS
  'Milliseconds of the stream entry''s id. With partition, entry_seq and message_index the place in the stream.';
COMMENT ON COLUMN public.usage_events.entry_seq IS 'Sequence of the stream entry''s id.';
COMMENT ON COLUMN public.usage_events.message_index IS 'Place of the message in its entry.';
COMMENT ON COLUMN public.usage_events.event_at IS 'The event''s own time; decides its window.';
COMMENT ON COLUMN public.usage_events.window_revision IS
  'The revision of the window that counted it first; 0 where it counted nowhere (duplicate, dead).';
COMMENT ON COLUMN public.usage_events.latency_us IS 'Microseconds; NULL: not told.';
COMMENT ON COLUMN public.usage_events.metadata IS 'The fields of the event''s metadata that weir does not know.';
COMMENT ON INDEX public.usage_events_pkey IS
  'No event twice: the sink''s INSERT by place in the stream. The reconciler: events accepted in a span, in order.';

CREATE INDEX usage_events_receipt ON public.usage_events (tenant_id, event_id);
COMMENT ON INDEX public.usage_events_receipt IS
  'GET /usage/events/{eventId}: all rows of an event id of a tenant (one counted, the others duplicates).';
CREATE INDEX usage_events_window ON public.usage_events (tenant_id, customer_id, window_start);
COMMENT ON INDEX public.usage_events_window IS 'The reconciler: the events of a window, to count them again.';

-- Sums ----------------------------------------------------------------------------------------------------------

CREATE TABLE public.aggregation_windows (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  customer_id bigint NOT NULL,
  window_start timestamptz(3) NOT NULL,
  window_end timestamptz(3) NOT NULL,
  status text COLLATE "C" NOT NULL CHECK (status IN ('closed', 'revised')),
  revision integer NOT NULL CHECK (revision > 0),
  partition smallint NOT NULL,
  total_calls bigint NOT NULL,
  total_tokens bigint NOT NULL,
  total_input_tokens bigint NOT NULL,
  total_output_tokens bigint NOT NULL,
  latency_count bigint NOT NULL,
  latency_sum_us bigint NOT NULL,
  late_events bigint NOT NULL,
  aggregation_data jsonb NOT NULL,
  as_of_at timestamptz(3) NOT NULL,
  as_of_seq integer NOT NULL,
  as_of_index smallint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (window_start < window_end),
  UNIQUE (tenant_id, customer_id, window_start),
  FOREIGN KEY (tenant_id, customer_id) REFERENCES public.customers (tenant_id, id)
);
COMMENT ON TABLE public.aggregation_windows IS
  'A customer''s usage in one window, from its first close on. A newer revision replaces it (optimistic locking by as_of).';
COMMENT ON COLUMN public.aggregation_windows.revision IS '1 when closed, one more for every burst of late events.';
COMMENT ON COLUMN public.aggregation_windows.partition IS 'Index of the partition of the topic usage that counts it.';
COMMENT ON COLUMN public.aggregation_windows.late_events IS 'Events counted after it had closed.';
COMMENT ON COLUMN public.aggregation_windows.aggregation_data IS
  '{"endpoints": [[name, calls, tokens]…], "models": [[name, calls, tokens]…], "latency": encoded sketch}';
COMMENT ON COLUMN public.aggregation_windows.as_of_at IS
  'With as_of_seq and as_of_index the place in the stream of the last message counted.';
COMMENT ON INDEX public.aggregation_windows_pkey IS 'No query of weir: a short name of a window for others to refer to.';
COMMENT ON INDEX public.aggregation_windows_tenant_id_customer_id_window_start_key IS
  'GET /usage/windows and /usage/summary: a range of a customer''s windows in order, cursor by window_start; the sink''s upsert and its corrections of a window that has left Redis.';
CREATE INDEX aggregation_windows_recent ON public.aggregation_windows (partition, window_start, id);
COMMENT ON INDEX public.aggregation_windows_recent IS 'The reconciler: the windows of a partition, page by page.';

-- Sinks ---------------------------------------------------------------------------------------------------------

CREATE TABLE public.sink_positions (
  sink text COLLATE "C" NOT NULL,
  stream text COLLATE "C" NOT NULL,
  outbox_id text NOT NULL,
  stream_position text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (sink, stream)
);
COMMENT ON TABLE public.sink_positions IS
  'How far a sink has written, in the transaction that wrote it: a batch that comes again is known, and a database ahead of its Redis is noticed.';
COMMENT ON COLUMN public.sink_positions.stream IS 'Topic and index of the partition: usage.3.';
COMMENT ON COLUMN public.sink_positions.outbox_id IS 'Id of the last outbox entry written.';
COMMENT ON COLUMN public.sink_positions.stream_position IS 'Id of the last stream entry all of whose messages are written.';
COMMENT ON INDEX public.sink_positions_pkey IS 'The sink: what have I written of this stream?';

CREATE TRIGGER touch BEFORE UPDATE ON public.tenants FOR EACH ROW EXECUTE FUNCTION public.weir_touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.customers FOR EACH ROW EXECUTE FUNCTION public.weir_touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.aggregation_windows FOR EACH ROW EXECUTE FUNCTION public.weir_touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.sink_positions FOR EACH ROW EXECUTE FUNCTION public.weir_touch();

-- Row level security --------------------------------------------------------------------------------------------
-- FORCE binds the owner as well. The sub-select makes the planner ask once a query and use the index for the answer.

ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.customers FORCE ROW LEVEL SECURITY;
ALTER TABLE public.usage_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.usage_events FORCE ROW LEVEL SECURITY;
ALTER TABLE public.aggregation_windows ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.aggregation_windows FORCE ROW LEVEL SECURITY;

CREATE POLICY own_tenant ON public.tenants FOR SELECT TO weir_app
  USING (id = (SELECT public.weir_current_tenant()));
CREATE POLICY own_tenant ON public.customers FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));
CREATE POLICY own_tenant ON public.usage_events FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));
CREATE POLICY own_tenant ON public.aggregation_windows FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));

CREATE POLICY all_tenants ON public.tenants TO weir_sink USING (true) WITH CHECK (true);
CREATE POLICY all_tenants ON public.customers TO weir_sink USING (true) WITH CHECK (true);
CREATE POLICY all_tenants ON public.usage_events TO weir_sink USING (true) WITH CHECK (true);
CREATE POLICY all_tenants ON public.aggregation_windows TO weir_sink USING (true) WITH CHECK (true);

GRANT SELECT ON public.tenants, public.customers, public.usage_events, public.aggregation_windows TO weir_app;
GRANT SELECT, INSERT, UPDATE ON public.tenants, public.customers, public.aggregation_windows, public.sink_positions
  TO weir_sink;
GRANT SELECT, INSERT ON public.usage_events TO weir_sink;

-- Partitions of usage_events ------------------------------------------------------------------------------------

CREATE FUNCTION public.ensure_usage_partition(day date) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '2s'
AS $$
DECLARE
  name text := 'usage_events_' || to_char(day, 'YYYYMMDD');
BEGIN
  IF to_regclass('public.' || name) IS NOT NULL THEN
    RETURN;
  END IF;
  -- One at a time; who waited looks again, in the catalog itself: to_regclass may remember that there was none.
  PERFORM pg_advisory_xact_lock(hashtext('weir.usage_partitions'));
  IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = name) THEN
    RETURN;
  END IF;
  -- CREATE … PARTITION OF would lock all of usage_events; ATTACH lets reads and writes go on.
  EXECUTE format('CREATE TABLE public.%I (LIKE public.usage_events INCLUDING ALL)', name);
  -- Nobody is granted anything here; with row security and no policy not even a grant by mistake shows a row.
  EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
  EXECUTE format('ALTER TABLE public.usage_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
    name, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
END
$$;
COMMENT ON FUNCTION public.ensure_usage_partition(date) IS
  'Makes the partition of a day (UTC) unless it exists. Safe from several sessions at once; blocks neither reads nor writes.';
REVOKE ALL ON FUNCTION public.ensure_usage_partition(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.ensure_usage_partition(date) TO weir_sink;

CREATE FUNCTION public.drop_usage_partitions(before date) RETURNS integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '2s'
AS $$
DECLARE
  name text;
  dropped integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('weir.usage_partitions'));
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.usage_events'::regclass
      AND c.relname ~ '^usage_events_[0-9]{8}$'
      AND to_date(right(c.relname, 8), 'YYYYMMDD') < before
    ORDER BY c.relname
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END
$$;
COMMENT ON FUNCTION public.drop_usage_partitions(date) IS
  'Drops the partitions of all days before this one; returns how many. Fails after 2 s (55P03) while a query reads usage_events: call again.';
REVOKE ALL ON FUNCTION public.drop_usage_partitions(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.drop_usage_partitions(date) TO weir_sink;
