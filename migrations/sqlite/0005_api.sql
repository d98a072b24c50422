-- Why: programs use the HTTP interface, with tokens; what they send twice is done once; and lists of a hundred thousand
-- devices are read a page at a time.

CREATE TABLE api_tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    user_id      TEXT    NOT NULL REFERENCES users (id),
    name         TEXT    NOT NULL,
    -- What its owner sees of it again: the first characters.
    prefix       TEXT    NOT NULL,
    -- Keyed BLAKE2s of its 256 bits.
    token_hash   TEXT    NOT NULL UNIQUE,
    scope        TEXT    NOT NULL CHECK (scope IN ('read', 'write')),
    -- The only network it may touch; NULL for all of its user's.
    network_id   TEXT    REFERENCES networks (id),
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX api_tokens_user ON api_tokens (user_id, id);

CREATE INDEX devices_user ON devices (user_id);
CREATE INDEX network_roles_user ON network_roles (user_id);

-- A device that was taken off the server keeps its row for the audit trail; NULL while it is on it.
ALTER TABLE devices ADD COLUMN removed_at INTEGER;

-- With what tells who may see a device: a list passes over the others without looking at their rows.
CREATE INDEX devices_name ON devices (name, id, user_id, removed_at);

CREATE TABLE api_repeats (
    user_id      TEXT    NOT NULL REFERENCES users (id),
    -- Keyed BLAKE2s of the key its client chose, and of the request.
    key_hash     TEXT    NOT NULL,
    request_hash TEXT    NOT NULL,
    -- NULL while the request is being carried out.
    status       INTEGER,
    -- The answer, sealed: it may show a secret that is shown once.
    answer       BLOB,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (user_id, key_hash)
) STRICT;
CREATE INDEX api_repeats_created ON api_repeats (created_at);

-- A page of events of a network, of a kind, or of what somebody did, and of members and invites of a network: each is read
-- in the order in which it is shown, and no more of it than is shown.
CREATE INDEX audit_events_network_id ON audit_events (network_id, id);
CREATE INDEX audit_events_kind_id ON audit_events (entity_type, id);
CREATE INDEX audit_events_actor_id ON audit_events (actor_kind, actor_id, id);
CREATE INDEX memberships_name ON memberships (network_id, nickname, id);
CREATE INDEX invites_network_id ON invites (network_id, id);
-- Rows of more than a day ago go.
CREATE INDEX outbox_created ON outbox (created_at);
