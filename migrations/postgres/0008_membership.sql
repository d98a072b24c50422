-- Why: people describe what is in their networks and find it again; administrators let devices and people in for a while, with
-- tags, and put people into groups.

CREATE TABLE metadata (
    entity_type EXACT   NOT NULL CHECK (entity_type IN ('user', 'network', 'device', 'member')),
    entity_id   EXACT   NOT NULL,
    key         EXACT   NOT NULL,
    value       EXACT   NOT NULL,
    -- The value in lower case, of every alphabet: what queries compare.
    folded      EXACT   NOT NULL,
    visibility  EXACT   NOT NULL CHECK (visibility IN ('self', 'admins', 'members', 'public')),
    updated_by  EXACT   NOT NULL,
    updated_at  BIGINT  NOT NULL,
    PRIMARY KEY (entity_type, entity_id, key)
);
CREATE INDEX metadata_key ON metadata (entity_type, key, folded);

CREATE TABLE member_tags (
    membership_id EXACT NOT NULL REFERENCES memberships (id),
    tag           EXACT NOT NULL,
    PRIMARY KEY (membership_id, tag)
);
CREATE INDEX member_tags_tag ON member_tags (tag, membership_id);

CREATE TABLE user_groups (
    id         EXACT   NOT NULL PRIMARY KEY,
    network_id EXACT   NOT NULL REFERENCES networks (id),
    name       EXACT   NOT NULL,
    created_at BIGINT  NOT NULL,
    UNIQUE (network_id, name)
);

CREATE TABLE group_users (
    group_id EXACT NOT NULL REFERENCES user_groups (id),
    user_id  EXACT NOT NULL REFERENCES users (id),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_users_user ON group_users (user_id);

-- When a membership ends by itself; NULL for never.
ALTER TABLE memberships ADD COLUMN expires_at BIGINT;
CREATE INDEX memberships_expires ON memberships (expires_at);

-- Whom an invite lets in: devices, or people, who become something in the network.
ALTER TABLE invites ADD COLUMN target EXACT NOT NULL DEFAULT 'device' CHECK (target IN ('device', 'person'));
ALTER TABLE invites ADD COLUMN role EXACT CHECK (role IN ('admin', 'member', 'guest'));
-- Whose the devices become that join with it.
ALTER TABLE invites ADD COLUMN owner_id EXACT REFERENCES users (id);
-- Milliseconds that what it gives lasts; NULL for ever.
ALTER TABLE invites ADD COLUMN member_life BIGINT;
-- JSON list of the tags that its devices get.
ALTER TABLE invites ADD COLUMN tags EXACT NOT NULL DEFAULT '[]';

-- Uses by people, as invite_uses has those by devices.
CREATE TABLE invite_people (
    id        EXACT   NOT NULL PRIMARY KEY,
    invite_id EXACT   NOT NULL REFERENCES invites (id),
    user_id   EXACT   NOT NULL REFERENCES users (id),
    at        BIGINT  NOT NULL
);
CREATE INDEX invite_people_invite ON invite_people (invite_id, user_id);

-- Argon2id of the password by which a network is joined, of no use without a key that is not in this database; NULL for none.
ALTER TABLE networks ADD COLUMN password_hash EXACT;
