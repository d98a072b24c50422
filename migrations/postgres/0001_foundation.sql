-- Why: the permanent data of a coordinator. Networks, the devices enrolled in them, how they got in, and who changed
-- what. Accounts are laid out (users, network_roles, the user columns) so that they can follow without a rebuild.
--
-- Types: ids are 26-character texts; instants are epoch milliseconds; addresses are canonical text; JSON is text.
-- A network's id and a device's id are the wire's own; every other id is a ULID.
-- The same as sqlite/0001_foundation.sql; a test compares the two schemas.

-- Texts compare byte by byte, as in SQLite, whatever the locale of the server is.
CREATE DOMAIN EXACT AS TEXT COLLATE "C";

CREATE TABLE users (
    id              EXACT   NOT NULL PRIMARY KEY,
    name            EXACT   NOT NULL UNIQUE,
    display_name    EXACT   NOT NULL DEFAULT '',
    email           EXACT,
    kind            EXACT   NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service')),
    is_server_admin BOOLEAN NOT NULL DEFAULT FALSE,
    disabled_at     BIGINT,
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL
);

CREATE TABLE networks (
    id            EXACT   NOT NULL PRIMARY KEY,
    slug          EXACT   NOT NULL,
    owner_id      EXACT   REFERENCES users (id),
    join_mode     EXACT   NOT NULL CHECK (join_mode IN ('locked', 'invite', 'password', 'request')),
    approve       EXACT   NOT NULL CHECK (approve IN ('auto', 'manual')),
    prefix4       EXACT   NOT NULL,
    -- An administrator chose the prefix, so it is never drawn again.
    prefix4_fixed BOOLEAN NOT NULL DEFAULT FALSE,
    prefix6       EXACT   NOT NULL UNIQUE,
    revision      BIGINT  NOT NULL,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL,
    deleted_at    BIGINT
);
CREATE UNIQUE INDEX networks_slug ON networks (slug) WHERE deleted_at IS NULL;

CREATE TABLE network_roles (
    network_id EXACT   NOT NULL REFERENCES networks (id),
    user_id    EXACT   NOT NULL REFERENCES users (id),
    role       EXACT   NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'guest')),
    expires_at BIGINT,
    added_by   EXACT   REFERENCES users (id),
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (network_id, user_id)
);

CREATE TABLE devices (
    id             EXACT   NOT NULL PRIMARY KEY,
    -- The nine digits people read out.
    number         BIGINT  NOT NULL UNIQUE,
    user_id        EXACT   REFERENCES users (id),
    name           EXACT   NOT NULL,
    os             EXACT   NOT NULL,
    agent_version  EXACT   NOT NULL,
    identity_key   EXACT   NOT NULL UNIQUE,
    wg_key         EXACT   NOT NULL UNIQUE,
    -- JSON list of the IPv4 prefixes the device routes locally: no network's prefix is drawn over one of them.
    local_prefixes EXACT   NOT NULL DEFAULT '[]',
    suspended_at   BIGINT,
    -- Written on transitions only; CHECKPOINT's memory is the truth.
    online         BOOLEAN NOT NULL DEFAULT FALSE,
    last_seen_at   BIGINT,
    last_ip        EXACT,
    created_at     BIGINT  NOT NULL,
    updated_at     BIGINT  NOT NULL
);

CREATE TABLE invites (
    id           EXACT   NOT NULL PRIMARY KEY,
    network_id   EXACT   NOT NULL REFERENCES networks (id),
    -- The first two characters, so that people can tell invites apart; the other six stay secret.
    code_prefix  EXACT   NOT NULL,
    -- Keyed BLAKE2s under a key that is not in this database.
    code_hash    EXACT   NOT NULL UNIQUE,
    max_uses     BIGINT  NOT NULL CHECK (max_uses > 0),
    uses         BIGINT  NOT NULL DEFAULT 0 CHECK (uses <= max_uses),
    auto_approve BOOLEAN NOT NULL DEFAULT TRUE,
    expires_at   BIGINT  NOT NULL,
    revoked_at   BIGINT,
    created_by   EXACT   NOT NULL,
    created_at   BIGINT  NOT NULL
);
CREATE INDEX invites_network ON invites (network_id, created_at);

CREATE TABLE memberships (
    id         EXACT   NOT NULL PRIMARY KEY,
    network_id EXACT   NOT NULL REFERENCES networks (id),
    device_id  EXACT   NOT NULL REFERENCES devices (id),
    state      EXACT   NOT NULL CHECK (state IN ('pending', 'active', 'suspended', 'left', 'denied')),
    nickname   EXACT   NOT NULL,
    -- NULL once the address went back to the pool, 30 days after the member left.
    ip4        EXACT,
    ip6        EXACT,
    joined_via EXACT   NOT NULL CHECK (joined_via IN ('invite', 'password', 'request', 'admin')),
    invite_id  EXACT   REFERENCES invites (id),
    -- Who ended it: a device that left may come back with the same invite, a removed one may not.
    left_by    EXACT   CHECK (left_by IN ('device', 'admin')),
    -- The network's revision at this row's last change.
    revision   BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    UNIQUE (network_id, device_id),
    UNIQUE (network_id, ip4),
    UNIQUE (network_id, ip6)
);
CREATE UNIQUE INDEX memberships_nickname ON memberships (network_id, nickname)
    WHERE state IN ('pending', 'active', 'suspended');
CREATE INDEX memberships_device ON memberships (device_id, state);
CREATE INDEX memberships_network ON memberships (network_id, state);

CREATE TABLE invite_uses (
    id        EXACT   NOT NULL PRIMARY KEY,
    invite_id EXACT   NOT NULL REFERENCES invites (id),
    device_id EXACT   NOT NULL REFERENCES devices (id),
    user_id   EXACT   REFERENCES users (id),
    at        BIGINT  NOT NULL
);
CREATE INDEX invite_uses_invite ON invite_uses (invite_id, device_id);

CREATE TABLE audit_events (
    id          EXACT   NOT NULL PRIMARY KEY,
    at          BIGINT  NOT NULL,
    actor_kind  EXACT   NOT NULL CHECK (actor_kind IN ('user', 'operator', 'device', 'system')),
    actor_id    EXACT   NOT NULL,
    via         EXACT   NOT NULL CHECK (via IN ('panel', 'cli', 'api', 'agent', 'system')),
    code        EXACT   NOT NULL,
    entity_type EXACT   NOT NULL,
    entity_id   EXACT   NOT NULL,
    network_id  EXACT,
    before      EXACT,
    after       EXACT,
    ip          EXACT
);
CREATE INDEX audit_events_network ON audit_events (network_id, at);
CREATE INDEX audit_events_entity ON audit_events (entity_type, entity_id);

CREATE TABLE settings (
    key   EXACT NOT NULL PRIMARY KEY,
    value EXACT NOT NULL
);

-- IDENTITY: a number is never given out twice, even after pruning, so a reader's cursor stays true.
CREATE TABLE outbox (
    id         BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    topic      EXACT   NOT NULL,
    payload    EXACT   NOT NULL,
    created_at BIGINT  NOT NULL
);
