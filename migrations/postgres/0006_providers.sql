-- Why: people sign in at an OIDC provider, and the groups it names give them roles. What a provider gave it may take away
-- again; what somebody here gave it may not.

-- The provider (its id in the settings) that gave it; empty for one that somebody here gave.
ALTER TABLE network_roles ADD COLUMN source EXACT NOT NULL DEFAULT '';
-- The same, of being an administrator of this server.
ALTER TABLE users ADD COLUMN admin_source EXACT NOT NULL DEFAULT '';
