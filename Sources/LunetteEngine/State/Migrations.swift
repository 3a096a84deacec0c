import GRDB

/// The database's versions. A migration that was released is never changed; a new one is added below it.
enum Migrations {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 first light") { db in
            try db.execute(
                sql: """
                    CREATE TABLE containers (
                      id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, id_base INTEGER UNIQUE, record BLOB NOT NULL
                    ) STRICT, WITHOUT ROWID;
                    CREATE TABLE volumes (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
                    CREATE TABLE events (sequence INTEGER PRIMARY KEY, time REAL NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL) STRICT;
                    CREATE TABLE ledger (
                      key TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, object TEXT NOT NULL, boot_id TEXT NOT NULL, detail BLOB NOT NULL
                    ) STRICT, WITHOUT ROWID;
                    CREATE TABLE requests (
                      number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, function TEXT NOT NULL, failed INTEGER NOT NULL, outcome BLOB NOT NULL
                    ) STRICT;
                    CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("2 resident code") { db in
            try db.execute(
                sql: """
                    CREATE TABLE cursors (name TEXT PRIMARY KEY NOT NULL, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                    CREATE TABLE resident (number INTEGER PRIMARY KEY, version BLOB NOT NULL) STRICT;
                    """)
        }
        migrator.registerMigration("3 what scripts keep") { db in
            try db.execute(
                sql: """
                    CREATE TABLE store (
                      store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (store, key)
                    ) STRICT, WITHOUT ROWID;
                    """)
        }
        return migrator
    }
}
