//! Inside: what the order service asks for.

use crate::{Payment, Payments, Refusal, State};
use ringway_sdk::partner::Outcome;
use ringway_sdk::rpc::{Request, Response, Status, open};
use shop_contracts::rpc::v1::{self, payment_server};
use shop_contracts::{Malformed, Money, Operation};

type Answer = Result<Response<v1::PaymentReply>, Status>;

fn info(payment: Payment) -> v1::PaymentInfo {
    let state = match payment.state {
        State::New | State::Declined => v1::PaymentState::Unspecified,
        State::Authorised => v1::PaymentState::Authorised,
        State::Captured if payment.refunded.amount_cents > 0 => v1::PaymentState::Refunded,
        State::Captured => v1::PaymentState::Captured,
        State::Voided => v1::PaymentState::Voided,
    };
    v1::PaymentInfo {
        payment_id: payment.payment_id.to_string(),
        state: state.into(),
        authorised: Some(payment.amount.into()),
        captured: Some(payment.captured.into()),
        refunded: Some(payment.refunded.into()),
    }
}

fn reply(outcome: Result<Outcome<Payment>, Refusal>) -> Answer {
    Ok(Response::new(outcome?.map(info).into()))
}

#[tonic::async_trait]
impl payment_server::Payment for Payments {
    async fn authorise(&self, request: Request<v1::AuthoriseRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        let amount = Money::try_from(asked.amount.ok_or(Malformed("amount"))?)?;
        reply(Self::authorise(self, &context, &operation, amount, &asked.payment_token).await)
    }

    async fn capture(&self, request: Request<v1::CaptureRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        reply(Self::capture(self, &context, &operation).await)
    }

    async fn void(&self, request: Request<v1::VoidRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        reply(Self::void(self, &context, &operation).await)
    }

    async fn refund(&self, request: Request<v1::RefundRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        let amount = asked.amount.map(Money::try_from).transpose()?;
        reply(Self::refund(self, &context, &operation, amount).await)
    }
}
