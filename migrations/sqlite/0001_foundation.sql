-- Why: the permanent data of a coordinator. Networks, the devices enrolled in them, how they got in, and who changed
-- what. Accounts are laid out (users, network_roles, the user columns) so that they can follow without a rebuild.
--
-- Types: ids are 26-character texts; instants are epoch milliseconds; addresses are canonical text; JSON is text.
-- A network's id and a device's id are the wire's own; every other id is a ULID.

CREATE TABLE users (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    display_name    TEXT    NOT NULL DEFAULT '',
    email           TEXT,
    kind            TEXT    NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service')),
    is_server_admin INTEGER NOT NULL DEFAULT 0,
    disabled_at     INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE networks (
    id            TEXT    NOT NULL PRIMARY KEY,
    slug          TEXT    NOT NULL,
    owner_id      TEXT    REFERENCES users (id),
    join_mode     TEXT    NOT NULL CHECK (join_mode IN ('locked', 'invite', 'password', 'request')),
    approve       TEXT    NOT NULL CHECK (approve IN ('auto', 'manual')),
    prefix4       TEXT    NOT NULL,
    -- 1: an administrator chose the prefix, so it is never drawn again.
    prefix4_fixed INTEGER NOT NULL DEFAULT 0,
    prefix6       TEXT    NOT NULL UNIQUE,
    revision      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    deleted_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX networks_slug ON networks (slug) WHERE deleted_at IS NULL;

CREATE TABLE network_roles (
    network_id TEXT    NOT NULL REFERENCES networks (id),
    user_id    TEXT    NOT NULL REFERENCES users (id),
    role       TEXT    NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'guest')),
    expires_at INTEGER,
    added_by   TEXT    REFERENCES users (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (network_id, user_id)
) STRICT;

CREATE TABLE devices (
    id             TEXT    NOT NULL PRIMARY KEY,
    -- The nine digits people read out.
    number         INTEGER NOT NULL UNIQUE,
    user_id        TEXT    REFERENCES users (id),
    name           TEXT    NOT NULL,
    os             TEXT    NOT NULL,
    agent_version  TEXT    NOT NULL,
    identity_key   TEXT    NOT NULL UNIQUE,
    wg_key         TEXT    NOT NULL UNIQUE,
    -- JSON list of the IPv4 prefixes the device routes locally: no network's prefix is drawn over one of them.
    local_prefixes TEXT    NOT NULL DEFAULT '[]',
    suspended_at   INTEGER,
    -- Written on transitions only; CHECKPOINT's memory is the truth.
    online         INTEGER NOT NULL DEFAULT 0,
    last_seen_at   INTEGER,
    last_ip        TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE invites (
    id           TEXT    NOT NULL PRIMARY KEY,
    network_id   TEXT    NOT NULL REFERENCES networks (id),
    -- The first two characters, so that people can tell invites apart; the other six stay secret.
    code_prefix  TEXT    NOT NULL,
    -- Keyed BLAKE2s under a key that is not in this database.
    code_hash    TEXT    NOT NULL UNIQUE,
    max_uses     INTEGER NOT NULL CHECK (max_uses > 0),
    uses         INTEGER NOT NULL DEFAULT 0 CHECK (uses <= max_uses),
    auto_approve INTEGER NOT NULL DEFAULT 1,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX invites_network ON invites (network_id, created_at);

CREATE TABLE memberships (
    id         TEXT    NOT NULL PRIMARY KEY,
    network_id TEXT    NOT NULL REFERENCES networks (id),
    device_id  TEXT    NOT NULL REFERENCES devices (id),
    state      TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'suspended', 'left', 'denied')),
    nickname   TEXT    NOT NULL,
    -- NULL once the address went back to the pool, 30 days after the member left.
    ip4        TEXT,
    ip6        TEXT,
    joined_via TEXT    NOT NULL CHECK (joined_via IN ('invite', 'password', 'request', 'admin')),
    invite_id  TEXT    REFERENCES invites (id),
    -- Who ended it: a device that left may come back with the same invite, a removed one may not.
    left_by    TEXT    CHECK (left_by IN ('device', 'admin')),
    -- The network's revision at this row's last change.
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (network_id, device_id),
    UNIQUE (network_id, ip4),
    UNIQUE (network_id, ip6)
) STRICT;
CREATE UNIQUE INDEX memberships_nickname ON memberships (network_id, nickname)
    WHERE state IN ('pending', 'active', 'suspended');
CREATE INDEX memberships_device ON memberships (device_id, state);
CREATE INDEX memberships_network ON memberships (network_id, state);

CREATE TABLE invite_uses (
    id        TEXT    NOT NULL PRIMARY KEY,
    invite_id TEXT    NOT NULL REFERENCES invites (id),
    device_id TEXT    NOT NULL REFERENCES devices (id),
    user_id   TEXT    REFERENCES users (id),
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX invite_uses_invite ON invite_uses (invite_id, device_id);

CREATE TABLE audit_events (
    id          TEXT    NOT NULL PRIMARY KEY,
    at          INTEGER NOT NULL,
    actor_kind  TEXT    NOT NULL CHECK (actor_kind IN ('user', 'operator', 'device', 'system')),
    actor_id    TEXT    NOT NULL,
    via         TEXT    NOT NULL CHECK (via IN ('panel', 'cli', 'api', 'agent', 'system')),
    code        TEXT    NOT NULL,
    entity_type TEXT    NOT NULL,
    entity_id   TEXT    NOT NULL,
    network_id  TEXT,
    before      TEXT,
    after       TEXT,
    ip          TEXT
) STRICT;
CREATE INDEX audit_events_network ON audit_events (network_id, at);
CREATE INDEX audit_events_entity ON audit_events (entity_type, entity_id);

CREATE TABLE settings (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- AUTOINCREMENT: a number is never given out twice, even after pruning, so a reader's cursor stays true.
CREATE TABLE outbox (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    topic      TEXT    NOT NULL,
    payload    TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
