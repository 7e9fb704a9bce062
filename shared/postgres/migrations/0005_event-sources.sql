-- Up Migration
-- The identity of a CloudEvent is its source and its id. Workers of the version before write rows without one: they do
-- not fold events that have one.

ALTER TABLE public.usage_events ADD COLUMN source text COLLATE "C";
COMMENT ON COLUMN public.usage_events.source IS
  'source of a CloudEvent, with event_id its identity; NULL: the event was none, or came before this column.';
COMMENT ON INDEX public.usage_events_receipt IS
  'GET /usage/events/{eventId}, npm run reconcile: all rows of an event id of a tenant, of all customers and sources.';
