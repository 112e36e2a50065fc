//! Ways to break the shop that the checker must see: triggers on the primaries, so that no product code has a switch for it.

use crate::Stage;
use crate::events::repeat;
use anyhow::Result;

/// What is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// Every tenth event of an order is not written to the outbox.
    OutboxBypassed,
    /// Notifications don't recognise what they have acted on, and everything is delivered once more.
    InboxUnchecked,
}

const DROP_SOME: &str = "CREATE FUNCTION torture_drop() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN IF get_byte(uuid_send(NEW.id), 15) % 10 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
     CREATE TRIGGER torture_drop BEFORE INSERT ON order_outbox FOR EACH ROW EXECUTE FUNCTION torture_drop()";

const FORGET: &str = "CREATE FUNCTION torture_forget() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN NEW.event_id := gen_random_uuid(); RETURN NEW; END $$;
     CREATE TRIGGER torture_forget BEFORE INSERT ON notification_inbox FOR EACH ROW EXECUTE FUNCTION torture_forget()";

impl Mutant {
    /// Breaks it, before there is load.
    ///
    /// # Errors
    /// A primary's.
    pub async fn begin(self, stage: &Stage) -> Result<()> {
        let ddl = match self {
            Self::OutboxBypassed => DROP_SOME,
            Self::InboxUnchecked => FORGET,
        };
        for primary in stage.primaries().await? {
            primary.batch_execute(ddl).await?;
        }
        Ok(())
    }

    /// What has to happen after the load for it to matter.
    ///
    /// # Errors
    /// Kafka's.
    pub async fn end(self, stage: &Stage) -> Result<()> {
        match self {
            Self::OutboxBypassed => Ok(()),
            Self::InboxUnchecked => repeat(&stage.bootstrap()?, "order-events").await.map(drop),
        }
    }
}
