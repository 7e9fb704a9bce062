-- Up Migration
-- Who was restricted when and why, for longer than Redis' outbox keeps it.

CREATE TABLE public.restriction_changes (
  stream text COLLATE "C" NOT NULL,
  outbox_id text COLLATE "C" NOT NULL,
  tenant_id text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL
    CHECK (type IN ('restricted', 'lifted', 'override_set', 'override_removed')),
  body jsonb NOT NULL,
  happened_at timestamptz(3) NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (stream, outbox_id)
);
COMMENT ON TABLE public.restriction_changes IS 'Every change of a restriction: the outbox of the topic events, kept.';
COMMENT ON COLUMN public.restriction_changes.stream IS 'Topic and index of the partition: events.3.';
COMMENT ON COLUMN public.restriction_changes.subject IS 'The user.';
COMMENT ON COLUMN public.restriction_changes.body IS 'As in the outbox: see docs/data-model.md, Entries.';
COMMENT ON INDEX public.restriction_changes_pkey IS
  'Writes are idempotent: the sink''s INSERT … ON CONFLICT DO NOTHING by place in the outbox.';

CREATE INDEX restriction_changes_subject ON public.restriction_changes (tenant_id, subject, happened_at);
COMMENT ON INDEX public.restriction_changes_subject IS 'The history of one user, newest first.';

ALTER TABLE public.restriction_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.restriction_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON public.restriction_changes FOR SELECT TO weir_app
  USING (tenant_id = (SELECT public.weir_current_tenant()));
CREATE POLICY all_tenants ON public.restriction_changes TO weir_sink USING (true) WITH CHECK (true);
GRANT SELECT ON public.restriction_changes TO weir_app;
GRANT SELECT, INSERT ON public.restriction_changes TO weir_sink;
