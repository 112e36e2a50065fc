//! SET, RESET and the modes of transactions.

use crate::analyse::leaf;
use crate::facts::{Constant, Isolation, Set, SetWhat, StatementKind, TransactionModes};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, Node, VariableSetKind};

pub(super) fn set(statement: &pb::VariableSetStmt) -> StatementKind {
    let name = statement.name.to_ascii_lowercase();
    let what = match statement.kind() {
        VariableSetKind::VarReset => return StatementKind::Reset { name: Some(name) },
        VariableSetKind::VarResetAll => return StatementKind::Reset { name: None },
        VariableSetKind::VarSetDefault => SetWhat::Default { name },
        VariableSetKind::VarSetValue => match statement.args.iter().map(set_value).collect() {
            Some(values) => SetWhat::Parameter { name, values },
            None => SetWhat::Other { name },
        },
        VariableSetKind::VarSetMulti => match statement.name.as_str() {
            "TRANSACTION" => SetWhat::Transaction(modes(&statement.args)),
            "SESSION CHARACTERISTICS" => SetWhat::Characteristics(modes(&statement.args)),
            "TRANSACTION SNAPSHOT" => SetWhat::Snapshot,
            _ => SetWhat::Other { name },
        },
        VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => SetWhat::Other { name },
    };
    StatementKind::Set(Set {
        local: statement.is_local,
        what,
    })
}

fn set_value(node: &Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => Some(match leaf::constant(constant)? {
            Constant::Integer(text)
            | Constant::Decimal(text)
            | Constant::Text(text)
            | Constant::Bits(text) => text,
            Constant::Bool(truth) => if truth { "true" } else { "false" }.to_owned(),
            Constant::Null => return None,
        }),
        // SET TIME ZONE INTERVAL '...' has a typed constant.
        _ => None,
    }
}

/// The modes of BEGIN, START TRANSACTION and SET TRANSACTION.
pub(super) fn modes(options: &[Node]) -> TransactionModes {
    let mut modes = TransactionModes::default();
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            continue;
        };
        let Some(constant) = option.arg.as_deref().and_then(|n| match &n.node {
            Some(NodeEnum::AConst(constant)) => leaf::constant(constant),
            _ => None,
        }) else {
            continue;
        };
        let on = matches!(&constant, Constant::Integer(text) if text != "0");
        match (option.defname.as_str(), constant) {
            ("transaction_isolation", Constant::Text(level)) => modes.isolation = isolation(&level),
            ("transaction_read_only", _) => modes.read_only = Some(on),
            ("transaction_deferrable", _) => modes.deferrable = Some(on),
            _ => {}
        }
    }
    modes
}

fn isolation(level: &str) -> Option<Isolation> {
    match level {
        "read uncommitted" => Some(Isolation::ReadUncommitted),
        "read committed" => Some(Isolation::ReadCommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}
