-- Data to develop with: two tenants with customers, one of them with budgets of its own. Run by `npm run seed`, as the role that writes for all tenants;
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

-- Applied by the workers within some seconds; what was changed through the API since then is newer and stays.
INSERT INTO budget_versions (tenant_id, applied_at, version, actor, reason, document) VALUES
  ('acme', to_timestamp(0), 1, 'seed', 'data to develop with', '{
    "window_seconds": 60,
    "max_request_share": 0.2,
    "degraded_debit": 0.5,
    "levels": [
      {"name": "acme", "parent": null, "limit": 100000, "soft_threshold": 0.8, "hard_threshold": 0.9, "p0_threshold": 1.2},
      {"name": "support", "parent": "acme", "limit": 60000, "soft_threshold": 0.8, "hard_threshold": 0.9, "p0_threshold": 1.2},
      {"name": "support-chat", "parent": "support", "limit": 40000, "soft_threshold": 0.8, "hard_threshold": 0.9, "p0_threshold": 1.2},
      {"name": "reports", "parent": "acme", "limit": 40000, "soft_threshold": 0.8, "hard_threshold": 0.9, "p2_soft_threshold": 0.5, "p2_hard_threshold": 0.7, "p0_threshold": 1}
    ]
  }')
ON CONFLICT DO NOTHING;
