//! `GetCallerIdentity`: needs no permission, and no policy can deny it.

use crate::caller::Caller;
use crate::sts::answer::Fields;
use crate::world::World;

pub(super) fn get_caller_identity(world: &World, caller: &Caller) -> Fields {
    Fields::default()
        .text("Arn", &caller.arn)
        .text("UserId", &caller.user_id)
        .text("Account", world.account.as_str())
}
