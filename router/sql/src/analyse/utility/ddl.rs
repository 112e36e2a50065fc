//! DDL: which tables a statement makes, changes or drops.

use crate::analyse::{leaf, query};
use crate::facts::{Ddl, Name, StatementKind};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, Node, ObjectType};

/// The facts of DDL; what is none and has no other kind is [`StatementKind::Other`].
pub(super) fn ddl(node: &NodeEnum) -> StatementKind {
    let Some((name, tables)) = named(node) else {
        return match unnamed(node) {
            Some(name) => {
                let mut ddl = plain(name, Vec::new(), outside_transaction(node));
                ddl.temporary = is_temporary(node);
                ddl.vacated = vacated(node);
                StatementKind::Ddl(ddl)
            }
            None => StatementKind::Other { node: "unknown" },
        };
    };
    let mut ddl = plain(name, tables, outside_transaction(node));
    ddl.temporary = is_temporary(node);
    ddl.source = source(node);
    ddl.vacated = vacated(node);
    ddl.executes = executes(node);
    StatementKind::Ddl(ddl)
}

fn plain(node: &'static str, tables: Vec<Name>, outside_transaction: bool) -> Ddl {
    Ddl {
        node,
        tables,
        temporary: false,
        outside_transaction,
        vacated: None,
        source: None,
        executes: None,
    }
}

fn one(relation: Option<&pb::RangeVar>) -> Vec<Name> {
    relation.map(leaf::range_var).into_iter().collect()
}

/// DDL that may name tables.
fn named(node: &NodeEnum) -> Option<(&'static str, Vec<Name>)> {
    Some(match node {
        NodeEnum::CreateStmt(s) => {
            let mut tables = one(s.relation.as_ref());
            tables.extend(super::tables(&s.inh_relations));
            ("CreateStmt", tables)
        }
        NodeEnum::CreateForeignTableStmt(s) => (
            "CreateForeignTableStmt",
            one(s.base_stmt.as_ref().and_then(|b| b.relation.as_ref())),
        ),
        NodeEnum::CreateTableAsStmt(s) => (
            "CreateTableAsStmt",
            one(s.into.as_deref().and_then(|i| i.rel.as_ref())),
        ),
        NodeEnum::RefreshMatViewStmt(s) => ("RefreshMatViewStmt", one(s.relation.as_ref())),
        NodeEnum::IndexStmt(s) => ("IndexStmt", one(s.relation.as_ref())),
        NodeEnum::AlterTableStmt(s) if holds_rows(s.objtype()) => {
            ("AlterTableStmt", one(s.relation.as_ref()))
        }
        NodeEnum::AlterTableStmt(_) => ("AlterTableStmt", Vec::new()),
        NodeEnum::RenameStmt(s) => ("RenameStmt", renamed(s)),
        NodeEnum::AlterObjectSchemaStmt(s) if holds_rows(s.object_type()) => {
            ("AlterObjectSchemaStmt", one(s.relation.as_ref()))
        }
        NodeEnum::AlterObjectSchemaStmt(_) => ("AlterObjectSchemaStmt", Vec::new()),
        NodeEnum::DropStmt(s) => ("DropStmt", dropped(s)),
        NodeEnum::CommentStmt(s) => ("CommentStmt", commented(s.objtype(), s.object.as_deref())),
        NodeEnum::GrantStmt(s) if s.objtype() == ObjectType::ObjectTable => {
            ("GrantStmt", super::tables(&s.objects))
        }
        NodeEnum::GrantStmt(_) => ("GrantStmt", Vec::new()),
        NodeEnum::CreateTrigStmt(s) => ("CreateTrigStmt", one(s.relation.as_ref())),
        NodeEnum::RuleStmt(s) => ("RuleStmt", one(s.relation.as_ref())),
        NodeEnum::CreatePolicyStmt(s) => ("CreatePolicyStmt", one(s.table.as_ref())),
        NodeEnum::AlterPolicyStmt(s) => ("AlterPolicyStmt", one(s.table.as_ref())),
        NodeEnum::CreateStatsStmt(s) => ("CreateStatsStmt", super::tables(&s.relations)),
        NodeEnum::ViewStmt(_) => ("ViewStmt", Vec::new()),
        _ => return None,
    })
}

fn holds_rows(object: ObjectType) -> bool {
    matches!(
        object,
        ObjectType::ObjectTable | ObjectType::ObjectMatview | ObjectType::ObjectForeignTable
    )
}

fn renamed(rename: &pb::RenameStmt) -> Vec<Name> {
    let of_table = matches!(
        rename.rename_type(),
        ObjectType::ObjectColumn
            | ObjectType::ObjectTabconstraint
            | ObjectType::ObjectTrigger
            | ObjectType::ObjectPolicy
    );
    if holds_rows(rename.rename_type()) || of_table {
        one(rename.relation.as_ref())
    } else {
        Vec::new()
    }
}

/// The tables among the objects of DROP; triggers, policies and rules belong to the table before their name.
fn dropped(drop: &pb::DropStmt) -> Vec<Name> {
    let of_table = matches!(
        drop.remove_type(),
        ObjectType::ObjectTrigger | ObjectType::ObjectPolicy | ObjectType::ObjectRule
    );
    if !holds_rows(drop.remove_type()) && !of_table {
        return Vec::new();
    }
    let names = drop.objects.iter().filter_map(leaf::list);
    names
        .filter_map(|parts| {
            let parts = if of_table {
                parts.split_last().map(|(_, table)| table)?
            } else {
                parts
            };
            leaf::name(parts)
        })
        .collect()
}

fn commented(kind: ObjectType, object: Option<&Node>) -> Vec<Name> {
    let parts = object.and_then(leaf::list).unwrap_or_default();
    let parts = match kind {
        ObjectType::ObjectTable | ObjectType::ObjectMatview | ObjectType::ObjectForeignTable => parts,
        ObjectType::ObjectColumn
        | ObjectType::ObjectTabconstraint
        | ObjectType::ObjectTrigger
        | ObjectType::ObjectPolicy
        | ObjectType::ObjectRule => parts.split_last().map_or(parts, |(_, table)| table),
        _ => return Vec::new(),
    };
    leaf::name(parts).into_iter().collect()
}

/// Whether what is made ends with the session: by TEMPORARY, or by the schema that stands before its name.
fn is_temporary(node: &NodeEnum) -> bool {
    let relation = match node {
        NodeEnum::CreateStmt(s) => s.relation.as_ref(),
        NodeEnum::CreateTableAsStmt(s) => s.into.as_deref().and_then(|i| i.rel.as_ref()),
        NodeEnum::CreateForeignTableStmt(s) => s.base_stmt.as_ref().and_then(|b| b.relation.as_ref()),
        NodeEnum::ViewStmt(s) => s.view.as_ref(),
        NodeEnum::CreateSeqStmt(s) => s.sequence.as_ref(),
        NodeEnum::CompositeTypeStmt(s) => s.typevar.as_ref(),
        _ => None,
    };
    let name = match node {
        NodeEnum::CreateFunctionStmt(s) => &s.funcname,
        NodeEnum::DefineStmt(s) => &s.defnames,
        NodeEnum::CreateEnumStmt(s) => &s.type_name,
        NodeEnum::CreateRangeStmt(s) => &s.type_name,
        NodeEnum::CreateDomainStmt(s) => &s.domainname,
        NodeEnum::CreateStatsStmt(s) => &s.defnames,
        _ => return relation.is_some_and(is_temporary_relation),
    };
    leaf::name(name).is_some_and(|name| name.schema.as_deref().is_some_and(is_temporary_schema))
}

/// Whether a relation that is made under this name is temporary.
pub(in crate::analyse) fn is_temporary_relation(relation: &pb::RangeVar) -> bool {
    relation.relpersistence == "t" || is_temporary_schema(&relation.schemaname)
}

/// `pg_temp`, or the name that it stands for in a session.
fn is_temporary_schema(name: &str) -> bool {
    name == "pg_temp" || name.starts_with("pg_temp_")
}

fn source(node: &NodeEnum) -> Option<Box<crate::Query>> {
    let query = match node {
        NodeEnum::CreateTableAsStmt(s) => s.query.as_deref(),
        NodeEnum::ViewStmt(s) => s.query.as_deref(),
        _ => None,
    };
    query
        .and_then(|n| n.node.as_ref())
        .and_then(query::facts)
        .map(Box::new)
}

fn executes(node: &NodeEnum) -> Option<String> {
    let NodeEnum::CreateTableAsStmt(s) = node else {
        return None;
    };
    match s.query.as_deref()?.node.as_ref()? {
        NodeEnum::ExecuteStmt(execute) => Some(execute.name.clone()),
        _ => None,
    }
}

fn outside_transaction(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::IndexStmt(s) => s.concurrent,
        NodeEnum::DropStmt(s) => s.concurrent,
        NodeEnum::CreatedbStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::DropTableSpaceStmt(_)
        | NodeEnum::AlterSystemStmt(_)
        | NodeEnum::CreateSubscriptionStmt(_)
        | NodeEnum::AlterSubscriptionStmt(_)
        | NodeEnum::DropSubscriptionStmt(_) => true,
        _ => false,
    }
}

/// The database in which the server wants no session but the one that asks.
fn vacated(node: &NodeEnum) -> Option<String> {
    /// What CREATE DATABASE copies if it isn't told.
    const TEMPLATE: &str = "template1";
    match node {
        NodeEnum::DropdbStmt(s) => Some(s.dbname.clone()),
        NodeEnum::RenameStmt(s) if s.rename_type() == ObjectType::ObjectDatabase => Some(s.subname.clone()),
        NodeEnum::AlterDatabaseStmt(s) if option(&s.options, "tablespace").is_some() => {
            Some(s.dbname.clone())
        }
        NodeEnum::CreatedbStmt(s) => {
            let template = option(&s.options, "template").and_then(|o| super::option_text(o.arg.as_deref()));
            Some(template.unwrap_or_else(|| TEMPLATE.to_owned()))
        }
        _ => None,
    }
}

fn option<'n>(options: &'n [Node], name: &str) -> Option<&'n pb::DefElem> {
    options.iter().find_map(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) if option.defname == name => Some(&**option),
        _ => None,
    })
}

/// DDL on objects that hold no rows of tables.
fn unnamed(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateSchemaStmt(_) => "CreateSchemaStmt",
        NodeEnum::CreateSeqStmt(_) => "CreateSeqStmt",
        NodeEnum::AlterSeqStmt(_) => "AlterSeqStmt",
        NodeEnum::CreateFunctionStmt(_) => "CreateFunctionStmt",
        NodeEnum::AlterFunctionStmt(_) => "AlterFunctionStmt",
        NodeEnum::CreateExtensionStmt(_) => "CreateExtensionStmt",
        NodeEnum::AlterExtensionStmt(_) => "AlterExtensionStmt",
        NodeEnum::CreateDomainStmt(_) => "CreateDomainStmt",
        NodeEnum::AlterDomainStmt(_) => "AlterDomainStmt",
        NodeEnum::CreateEnumStmt(_) => "CreateEnumStmt",
        NodeEnum::AlterEnumStmt(_) => "AlterEnumStmt",
        NodeEnum::CompositeTypeStmt(_) => "CompositeTypeStmt",
        NodeEnum::CreateRangeStmt(_) => "CreateRangeStmt",
        NodeEnum::DefineStmt(_) => "DefineStmt",
        NodeEnum::CreateCastStmt(_) => "CreateCastStmt",
        NodeEnum::CreateRoleStmt(_) => "CreateRoleStmt",
        NodeEnum::AlterRoleStmt(_) => "AlterRoleStmt",
        NodeEnum::AlterRoleSetStmt(_) => "AlterRoleSetStmt",
        NodeEnum::DropRoleStmt(_) => "DropRoleStmt",
        NodeEnum::GrantRoleStmt(_) => "GrantRoleStmt",
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "AlterDefaultPrivilegesStmt",
        NodeEnum::AlterOwnerStmt(_) => "AlterOwnerStmt",
        NodeEnum::AlterDatabaseSetStmt(_) => "AlterDatabaseSetStmt",
        NodeEnum::AlterDatabaseStmt(_) => "AlterDatabaseStmt",
        NodeEnum::CreatePublicationStmt(_) => "CreatePublicationStmt",
        NodeEnum::AlterPublicationStmt(_) => "AlterPublicationStmt",
        NodeEnum::CreateEventTrigStmt(_) => "CreateEventTrigStmt",
        NodeEnum::AlterEventTrigStmt(_) => "AlterEventTrigStmt",
        NodeEnum::CreatedbStmt(_) => "CreatedbStmt",
        NodeEnum::DropdbStmt(_) => "DropdbStmt",
        NodeEnum::CreateTableSpaceStmt(_) => "CreateTableSpaceStmt",
        NodeEnum::DropTableSpaceStmt(_) => "DropTableSpaceStmt",
        NodeEnum::AlterSystemStmt(_) => "AlterSystemStmt",
        NodeEnum::CreateSubscriptionStmt(_) => "CreateSubscriptionStmt",
        NodeEnum::AlterSubscriptionStmt(_) => "AlterSubscriptionStmt",
        NodeEnum::DropSubscriptionStmt(_) => "DropSubscriptionStmt",
        NodeEnum::DropOwnedStmt(_) => "DropOwnedStmt",
        NodeEnum::ReassignOwnedStmt(_) => "ReassignOwnedStmt",
        _ => return None,
    })
}
