-- Up Migration
-- The API asks whose database it was given, and serves nothing of another installation's.

GRANT SELECT ON public.installation TO weir_app;
COMMENT ON INDEX public.installation_pkey IS 'A worker''s start: claim it, or learn whose it is. The API: is it ours?';
