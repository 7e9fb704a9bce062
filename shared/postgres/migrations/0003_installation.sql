-- Up Migration
-- Which installation of weir writes here. Rows are known by their place in its streams, so a second one would be
-- taken for the first.

CREATE TABLE public.installation (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  namespace text COLLATE "C" NOT NULL,
  partitions integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.installation IS 'The one installation whose workers write into this database.';
COMMENT ON COLUMN public.installation.namespace IS 'Its WEIR_NAMESPACE.';
COMMENT ON COLUMN public.installation.partitions IS 'Its PARTITIONS.';
COMMENT ON INDEX public.installation_pkey IS 'A worker''s start: claim it, or learn whose it is.';
GRANT SELECT, INSERT ON public.installation TO weir_sink;
