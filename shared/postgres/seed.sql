-- Data to develop with: two tenants with customers. Run by `npm run seed`, as the role that writes for all tenants;
-- again it changes nothing. A customer of one is called as one of the other, which is what tenancy is about.

INSERT INTO tenants (id, name) VALUES
  ('acme', 'Acme Corporation'),
  ('globex', 'Globex Corporation')
ON CONFLICT DO NOTHING;

INSERT INTO customers (tenant_id, external_id, name) VALUES
  ('acme', 'customer-1', 'Road Runner Deliveries'),
  ('acme', 'customer-2', 'Coyote Research'),
  ('acme', 'customer-3', 'Canyon Tours'),
  ('globex', 'customer-1', 'Hank''s Hammocks'),
  ('globex', 'customer-2', 'Cypress Creek Power')
ON CONFLICT DO NOTHING;
