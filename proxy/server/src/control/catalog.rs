//! Loads what the planner knows of a database from the `pg_catalog` of one shard's primary.
//!
//! In: a connection of the control user. Out: a [`Catalog`], whose version rises only with its content.
//! When to load again (DDL seen in the stream, or at an interval) is the caller's decision.
//!
//! Temporary relations are left out: they come and go all the time, and only their own session sees them.

use planner::{
    Catalog, Collation, Column, DefaultKind, Function, FunctionKind, Index, Table, TableKind, Volatility,
};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};
use topology::TableName;

/// Why a catalog could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// The server's or the network's fault.
    #[error("cannot read the catalog: {0}")]
    Server(#[from] tokio_postgres::Error),
    /// A server that says what this version doesn't know.
    #[error("the catalog says {what} {value:?}, which is not known")]
    Unknown {
        /// What kind of value it is.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// The first version of a catalog.
const FIRST_VERSION: u64 = 1;

/// The publication that the streams are fed by.
const PUBLICATION: &str = "ringway";

/// Relations that a statement can name. Persistence `t`: see the head of this module. A relation is as unlogged as any
/// of its heirs: what changes in a foreign, temporary or unlogged partition is never in this server's log. It is as
/// published as the one of its heirs that is published least.
const RELATIONS: &str = "
    WITH RECURSIVE below (ancestor, relid) AS (
        SELECT inhparent, inhrelid FROM pg_catalog.pg_inherits
        UNION
        SELECT b.ancestor, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.relid),
    published (relid) AS MATERIALIZED (
        SELECT h.oid FROM pg_catalog.pg_publication_tables p
        JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
        JOIN pg_catalog.pg_class h ON h.relnamespace = n.oid AND h.relname = p.tablename
        WHERE p.pubname = $1)
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
        c.relpersistence = 'u' OR EXISTS (
            SELECT FROM below b JOIN pg_catalog.pg_class h ON h.oid = b.relid
            WHERE b.ancestor = c.oid AND (h.relpersistence <> 'p' OR h.relkind = 'f')),
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid),
        c.relrowsecurity,
        c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT EXISTS (
            SELECT FROM (SELECT c.oid UNION ALL SELECT b.relid FROM below b WHERE b.ancestor = c.oid) part (relid)
            JOIN pg_catalog.pg_class h ON h.oid = part.relid AND h.relkind = 'r'
            WHERE h.oid NOT IN (SELECT relid FROM published))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
    ORDER BY c.oid";

/// Their columns. The database's own collation has provider `d` and is looked up in `pg_database`, whose column
/// `datlocprovider` came with PostgreSQL 15. A default is judged by the nodes and functions of its tree: a tree
/// with any other node, or with a function that isn't immutable, may change.
const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::text, a.atttypid, t.typname::text, a.attnotnull,
        CASE WHEN co.oid IS NULL THEN 'none'
             WHEN NOT co.collisdeterministic THEN 'nondeterministic'
             WHEN CASE co.collprovider WHEN 'd' THEN db.by_bytes
                      ELSE co.collprovider = 'b' OR co.collprovider = 'c'
                           AND co.collcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') END THEN 'bytes'
             ELSE 'deterministic' END,
        CASE WHEN a.attgenerated <> '' THEN 'generated'
             WHEN a.attidentity <> '' THEN 'sequence'
             WHEN def.tree IS NULL THEN 'none'
             WHEN def.tree LIKE '%{NEXTVALUEEXPR %' OR EXISTS (
                 SELECT FROM pg_catalog.regexp_matches(def.tree, ':funcid (\\d+)', 'g') f
                 WHERE f[1]::oid = 'pg_catalog.nextval(regclass)'::regprocedure) THEN 'sequence'
             WHEN EXISTS (
                 SELECT FROM pg_catalog.regexp_matches(def.tree, '\\{([A-Z_]+) ', 'g') node
                 WHERE node[1] NOT IN ('CONST', 'FUNCEXPR', 'OPEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR', 'RELABELTYPE',
                     'ARRAY', 'ARRAYEXPR', 'COALESCE', 'COALESCEEXPR', 'NULLTEST', 'COLLATE', 'COLLATEEXPR')) THEN 'changing'
             WHEN EXISTS (
                 SELECT FROM pg_catalog.regexp_matches(def.tree, ':(?:op)?funcid (\\d+)', 'g') f
                 LEFT JOIN pg_catalog.pg_proc p ON p.oid = f[1]::oid
                 WHERE p.provolatile IS DISTINCT FROM 'i') THEN 'changing'
             ELSE 'immutable' END
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    CROSS JOIN LATERAL (SELECT coalesce(d.adbin, t.typdefaultbin)::text AS tree) def
    CROSS JOIN (
        SELECT coalesce(pg_catalog.to_jsonb(pd) ->> 'datlocprovider', 'c') = 'b'
            OR coalesce(pg_catalog.to_jsonb(pd) ->> 'datlocprovider', 'c') = 'c'
               AND pd.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') AS by_bytes
        FROM pg_catalog.pg_database pd WHERE pd.datname = pg_catalog.current_database()) db
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
        AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

/// Usable indexes over plain columns, included ones left out. A deferrable constraint is not unique at every moment.
const INDEXES: &str = "
    SELECT i.indrelid, i.indisprimary, i.indisunique AND i.indimmediate,
        ARRAY(SELECT a.attname::text
              FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.place <= i.indnkeyatts ORDER BY k.place)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    WHERE i.indisvalid AND i.indexprs IS NULL AND i.indpred IS NULL
        AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
    ORDER BY i.indrelid, i.indexrelid";

/// Functions by what the planner asks about them: overloads alike in all of it are one.
const FUNCTIONS: &str = "
    SELECT DISTINCT p.proname::text, n.nspname::text, p.provolatile::text, p.prokind::text
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    ORDER BY 1, 2, 3, 4";

/// The tables of the server that `client` is connected to, and whether it publishes their changes.
///
/// # Errors
/// When the server can't be asked.
pub(crate) async fn publication(client: &Client) -> Result<HashMap<TableName, bool>, CatalogError> {
    let mut names = HashMap::new();
    for row in client.query(RELATIONS, &[&PUBLICATION]).await? {
        let (schema, name): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
        names.insert(TableName::new(schema, name), row.try_get(7)?);
    }
    Ok(names)
}

/// Loads the catalog of the database that `client` is connected to, all of one moment. Gives `previous` itself back
/// if nothing changed, else a catalog of the next version. `elsewhere` says of a table that is published here whether the other
/// shards that have rows of it publish it too.
///
/// # Errors
/// When the server can't be asked, or says something that this version doesn't know.
pub(crate) async fn load(
    client: &mut Client,
    previous: Option<&Arc<Catalog>>,
    elsewhere: impl Fn(&TableName) -> bool,
) -> Result<Arc<Catalog>, CatalogError> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let version = previous.map_or(FIRST_VERSION, |catalog| catalog.version);
    let mut catalog = read(&transaction, version, elsewhere).await?;
    transaction.commit().await?;
    match previous {
        Some(previous) if **previous == catalog => Ok(Arc::clone(previous)),
        Some(_) => {
            catalog.version += 1;
            Ok(Arc::new(catalog))
        }
        None => Ok(Arc::new(catalog)),
    }
}

async fn read(
    transaction: &Transaction<'_>,
    version: u64,
    elsewhere: impl Fn(&TableName) -> bool,
) -> Result<Catalog, CatalogError> {
    let mut tables = HashMap::new();
    for row in transaction.query(RELATIONS, &[&PUBLICATION]).await? {
        let mut table = relation(&row)?;
        table.published = table.published && elsewhere(&table.name);
        tables.insert(table.oid, table);
    }
    for row in transaction.query(COLUMNS, &[]).await? {
        let owner: u32 = row.try_get(0)?;
        if let Some(table) = tables.get_mut(&owner) {
            table.columns.push(column(&row)?);
        }
    }
    for row in transaction.query(INDEXES, &[]).await? {
        let owner: u32 = row.try_get(0)?;
        let Some(table) = tables.get_mut(&owner) else {
            continue;
        };
        let columns = row.try_get(3)?;
        if row.try_get(1)? {
            table.primary_key = columns;
        } else {
            table.indexes.push(Index {
                columns,
                unique: row.try_get(2)?,
            });
        }
    }
    let mut catalog = Catalog::new(version);
    for table in tables.into_values() {
        catalog.insert_table(table);
    }
    for row in transaction.query(FUNCTIONS, &[]).await? {
        let name: &str = row.try_get(0)?;
        catalog.insert_function(name, function(&row)?);
    }
    Ok(catalog)
}

fn relation(row: &Row) -> Result<Table, CatalogError> {
    let (schema, name): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
    let (kind, unlogged, heir): (&str, bool, bool) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    let kind = match kind {
        "r" | "p" | "v" if matches!(schema, "pg_catalog" | "information_schema") => TableKind::System,
        "S" => TableKind::Sequence,
        "r" | "p" | "f" if heir => TableKind::Partition,
        "r" | "p" | "m" if unlogged => TableKind::Unlogged,
        "r" => TableKind::Ordinary,
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::MaterialisedView,
        "f" => TableKind::Foreign,
        other => return Err(unknown("the relation kind", other)),
    };
    Ok(Table {
        oid: row.try_get(0)?,
        name: TableName::new(schema, name),
        kind,
        columns: Vec::new(),
        primary_key: Vec::new(),
        indexes: Vec::new(),
        row_security: row.try_get(6)?,
        published: row.try_get(7)?,
    })
}

fn column(row: &Row) -> Result<Column, CatalogError> {
    let (collation, default): (&str, &str) = (row.try_get(5)?, row.try_get(6)?);
    Ok(Column {
        name: row.try_get(1)?,
        type_oid: row.try_get(2)?,
        type_name: row.try_get(3)?,
        not_null: row.try_get(4)?,
        collation: match collation {
            "none" => Collation::None,
            "bytes" => Collation::Bytes,
            "deterministic" => Collation::Deterministic,
            "nondeterministic" => Collation::Nondeterministic,
            other => return Err(unknown("the collation", other)),
        },
        default: match default {
            "none" => DefaultKind::None,
            "immutable" => DefaultKind::Immutable,
            "changing" => DefaultKind::Changing,
            "sequence" => DefaultKind::Sequence,
            "generated" => DefaultKind::Generated,
            other => return Err(unknown("the default", other)),
        },
    })
}

fn function(row: &Row) -> Result<Function, CatalogError> {
    let (volatility, kind): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
    Ok(Function {
        schema: row.try_get(1)?,
        volatility: match volatility {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            "v" => Volatility::Volatile,
            other => return Err(unknown("the volatility", other)),
        },
        kind: match kind {
            "f" => FunctionKind::Plain,
            "a" => FunctionKind::Aggregate,
            "w" => FunctionKind::Window,
            "p" => FunctionKind::Procedure,
            other => return Err(unknown("the function kind", other)),
        },
    })
}

fn unknown(what: &'static str, value: &str) -> CatalogError {
    CatalogError::Unknown {
        what,
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
