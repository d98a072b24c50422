-- Why: people look for a text in the middle of words. Without an index of their parts every search reads every device.

-- What a word of a query is compared with: the name, the number as it is stored and as it is read out, the system.
CREATE VIEW device_texts AS
    SELECT number, name || '|' || number || '|' || substr(number, 1, 3) || '-' || substr(number, 4, 3) || '-'
        || substr(number, 7) || '|' || lower(os) AS folded FROM devices;

-- The index holds no text of its own: `folded` is read from the view, by `rowid`, which is the device's number.
CREATE VIRTUAL TABLE device_words USING fts5 (
    folded, content = 'device_texts', content_rowid = 'number', tokenize = 'trigram', detail = 'none'
);
INSERT INTO device_words (device_words) VALUES ('rebuild');

CREATE TRIGGER device_words_new AFTER INSERT ON devices BEGIN
    INSERT INTO device_words (rowid, folded) SELECT number, folded FROM device_texts WHERE number = new.number;
END;
CREATE TRIGGER device_words_before BEFORE UPDATE OF name, os ON devices BEGIN
    INSERT INTO device_words (device_words, rowid, folded)
        SELECT 'delete', number, folded FROM device_texts WHERE number = old.number;
END;
CREATE TRIGGER device_words_after AFTER UPDATE OF name, os ON devices BEGIN
    INSERT INTO device_words (rowid, folded) SELECT number, folded FROM device_texts WHERE number = new.number;
END;
CREATE TRIGGER device_words_gone BEFORE DELETE ON devices BEGIN
    INSERT INTO device_words (device_words, rowid, folded)
        SELECT 'delete', number, folded FROM device_texts WHERE number = old.number;
END;

-- Entries get a number, by which the index knows them.
ALTER TABLE metadata RENAME TO metadata_without_number;
DROP INDEX metadata_key;
CREATE TABLE metadata (
    number      INTEGER NOT NULL PRIMARY KEY,
    entity_type TEXT    NOT NULL CHECK (entity_type IN ('user', 'network', 'device', 'member')),
    entity_id   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    -- The value in lower case, of every alphabet: what queries compare.
    folded      TEXT    NOT NULL,
    visibility  TEXT    NOT NULL CHECK (visibility IN ('self', 'admins', 'members', 'public')),
    updated_by  TEXT    NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (entity_type, entity_id, key)
) STRICT;
INSERT INTO metadata (entity_type, entity_id, key, value, folded, visibility, updated_by, updated_at)
    SELECT entity_type, entity_id, key, value, folded, visibility, updated_by, updated_at
    FROM metadata_without_number ORDER BY entity_type, entity_id, key;
DROP TABLE metadata_without_number;

CREATE VIRTUAL TABLE metadata_words USING fts5 (
    folded, content = 'metadata', content_rowid = 'number', tokenize = 'trigram', detail = 'none'
);
INSERT INTO metadata_words (metadata_words) VALUES ('rebuild');

CREATE TRIGGER metadata_words_new AFTER INSERT ON metadata BEGIN
    INSERT INTO metadata_words (rowid, folded) VALUES (new.number, new.folded);
END;
CREATE TRIGGER metadata_words_changed AFTER UPDATE OF folded ON metadata BEGIN
    INSERT INTO metadata_words (metadata_words, rowid, folded) VALUES ('delete', old.number, old.folded);
    INSERT INTO metadata_words (rowid, folded) VALUES (new.number, new.folded);
END;
CREATE TRIGGER metadata_words_gone AFTER DELETE ON metadata BEGIN
    INSERT INTO metadata_words (metadata_words, rowid, folded) VALUES ('delete', old.number, old.folded);
END;

-- Everything a condition on a device or on an entry looks at: going through the index reads no row that is not shown.
CREATE INDEX metadata_key ON metadata (entity_type, key, folded, visibility, entity_id);
DROP INDEX devices_name;
CREATE INDEX devices_name ON devices (name, id, removed_at, user_id, number, os, agent_version, online, suspended_at);
CREATE INDEX memberships_ip4 ON memberships (ip4, ip6, state, network_id, device_id);
CREATE INDEX memberships_ip6 ON memberships (ip6);
DROP INDEX memberships_network;
CREATE INDEX memberships_network ON memberships (network_id, state, device_id);
