//! A key in a token over PKCS#11 that signs tokens, held to what a signer must be.
//!
//! ```text
//! cargo run -p agentkeys-examples --example signers -- MODULE TOKEN KEY PIN-FILE suite
//! cargo run -p agentkeys-examples --example signers -- MODULE TOKEN KEY PIN-FILE rate
//! cargo run -p agentkeys-examples --example signers -- MODULE TOKEN KEY PIN-FILE refused WORDS
//! cargo run -p agentkeys-examples --example signers -- MODULE TOKEN KEY PIN-FILE away FOLDER
//! cargo run -p agentkeys-examples --example signers -- MODULE TOKEN KEY PIN-FILE steal
//! cargo run -p agentkeys-examples --example signers -- MODULE TOKEN KEY PIN-FILE lost
//! ```
//!
//! MODULE is the absolute path of the HSM's library, TOKEN and KEY are labels. `suite` runs the contract that all
//! signers are held to, `rate` mints, `refused` is well where the key cannot be opened for this reason, and `away`
//! takes the token's folder away while it signs. `lost` logs it out again and again. `steal` has the PIN and is well where the key
//! cannot be read or copied out all the same. `examples/e2e/signers.sh` makes such a token
//! with SoftHSM and runs all of it.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkeys_core::testing::{SignerCases, signer_contract};
use agentkeys_core::{
    Assurance, AttestedIdentity, Clock as _, ErrorKind, EvidenceKind, KeyName, KeyRing, MintRequest, Minter,
    Pkcs11Key, Pkcs11Signer, Secret, SystemClock, TokenName, TokenSigner,
};
use agentkeys_examples::{Failure, told};
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

#[tokio::main]
async fn main() -> ExitCode {
    match begin(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "signers: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

async fn begin(arguments: Vec<String>) -> Result<(), Failure> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [module, token, label, pin_file, rest @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    let pin = std::fs::read_to_string(pin_file)?.trim_end().to_owned();
    let key = Pkcs11Key::new(*module, TokenName::label(token)?, KeyName::label(label)?)?;
    let opening = Pkcs11Signer::open(key, Secret::new(pin.clone()));
    match rest {
        ["suite"] => suite(opening.await?, &pin).await,
        ["rate"] => rate(opening.await?).await,
        ["refused", words] => match opening.await {
            Ok(_) => Err(format!("the key was opened although {words}").into()),
            Err(error) => {
                let told = told(&error.into());
                if !told.contains(words) || told.contains(&pin) {
                    return Err(format!("another refusal than {words:?}: {told}").into());
                }
                say(&format!("refused: {told}"))
            }
        },
        ["steal"] => {
            let signer = opening.await?;
            steal(module, token, label, &pin)?;
            signer.sign(b"a message").await?;
            say("the key can be neither read nor copied out, with the PIN")
        }
        ["lost"] => lost(opening.await?, module, token).await,
        ["away", folder] => away(opening.await?, module, Path::new(folder), &pin).await,
        _ => Err(USAGE.into()),
    }
}

const USAGE: &str =
    "usage: signers MODULE TOKEN KEY PIN-FILE suite | rate | refused WORDS | away FOLDER | steal | lost";

fn say(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn suite(signer: Pkcs11Signer, pin: &str) -> Result<(), Failure> {
    let (begun, kid) = (now(), signer.public_jwk().kid().clone());
    signer_contract(&SignerCases::new(Arc::new(signer)).with_secret(pin)).await;
    say(&format!("the contract of signers holds for {kid} ({} ms)", begun.elapsed().as_millis()))
}

/// Tokens in a second, for so many under way at once.
async fn rate(signer: Pkcs11Signer) -> Result<(), Failure> {
    let minter = minter(Arc::new(signer))?;
    for in_flight in [1, 4, 16] {
        let begun = now();
        let minting = |minter: Minter| async move {
            let mut count = 0_u32;
            while begun.elapsed() < Duration::from_secs(2) {
                mint(&minter).await?;
                count += 1;
            }
            Ok::<_, Failure>(count)
        };
        let tasks: Vec<_> = (0..in_flight).map(|_| tokio::spawn(minting(minter.clone()))).collect();
        let mut count = 0;
        for task in tasks {
            count += task.await??;
        }
        let per_second = f64::from(count) / begun.elapsed().as_secs_f64();
        say(&format!("{in_flight} in flight: {per_second:.0} tokens/s"))?;
        if per_second < 40.0 {
            return Err("fewer than 40 tokens a second".into());
        }
    }
    Ok(())
}

/// Nothing is signed while the token is away, and the host is told to try again. SoftHSM remembers that a token was
/// gone until its work is ended; after that it mints.
async fn away(signer: Pkcs11Signer, module: &str, folder: &Path, pin: &str) -> Result<(), Failure> {
    let signer = Arc::new(signer);
    let minter = minter(signer.clone())?;
    mint(&minter).await?;
    let elsewhere = folder.with_extension("away");
    std::fs::rename(folder, &elsewhere)?;
    for _ in 0..20 {
        let Err(error) = mint(&minter).await else {
            return Err("a token was minted while the signer was away".into());
        };
        let Some(agentkeys_core::MintError::Sign(refused)) = error.downcast_ref() else {
            return Err(error);
        };
        if refused.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        if told(&error).contains(pin) {
            return Err("the PIN is shown".into());
        }
    }
    say("the token is away: 20 tokens asked for, none minted, each to be asked for again")?;
    std::fs::rename(&elsewhere, folder)?;
    Pkcs11::new(module)?.finalize()?;
    mint(&minter).await?;
    say("the token is back: it mints")
}

/// Somebody else in the process logs out, and then ends the module's work: the signer logs in again and begins anew.
async fn lost(signer: Pkcs11Signer, path: &str, token: &str) -> Result<(), Failure> {
    let minter = minter(Arc::new(signer))?;
    for _ in 0..10 {
        mint(&minter).await?;
        let module = Pkcs11::new(path)?;
        module.open_ro_session(slot_of(&module, token)?)?.logout()?;
        mint(&minter).await?;
        module.finalize()?;
        mint(&minter).await?;
    }
    say("ten times it was logged out and the module ended, and the next token was minted")
}

fn slot_of(module: &Pkcs11, token: &str) -> Result<Slot, Failure> {
    let named = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == token);
    let slots = module.get_slots_with_token()?;
    Ok(slots.into_iter().find(named).ok_or("there is no such token")?)
}

/// Asks the token itself for the key: its value, and the key wrapped in another one.
fn steal(module: &str, token: &str, label: &str, pin: &str) -> Result<(), Failure> {
    let module = Pkcs11::new(module)?;
    let slot = slot_of(&module, token)?;
    let session = module.open_rw_session(slot)?;
    // the process is logged in; whoever has the PIN could be
    let pin = AuthPin::new(pin.into());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => return Err(error.into()),
    }
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.into())];
    let key = *session.find_objects(&wanted)?.first().ok_or("there is no such key")?;
    let value = session.get_attribute_info(key, &[AttributeType::Value])?;
    if !matches!(value.as_slice(), [AttributeInfo::Sensitive])
        || !session.get_attributes(key, &[AttributeType::Value])?.is_empty()
    {
        return Err("the key can be read".into());
    }
    let length = Attribute::ValueLen(32.into());
    let wraps = [length, Attribute::Token(false), Attribute::Wrap(true), Attribute::Encrypt(true)];
    let wrapping = session.generate_key(&Mechanism::AesKeyGen, &wraps)?;
    match session.wrap_key(&Mechanism::AesKeyWrapPad, wrapping, key) {
        Err(Error::Pkcs11(RvError::KeyUnextractable, _)) => Ok(()),
        Err(error) => Err(format!("another refusal than that the key cannot be copied out: {error}").into()),
        Ok(_) => Err("the key can be copied out".into()),
    }
}

fn minter(signer: Arc<dyn TokenSigner>) -> Result<Minter, Failure> {
    Ok(Minter::new("https://broker.example.org".parse()?, KeyRing::new(signer)))
}

async fn mint(minter: &Minter) -> Result<(), Failure> {
    let now = SystemClock::new().now()?;
    let identity = AttestedIdentity::assertion(
        EvidenceKind::from_static("example"),
        "https://builds.example.org".parse()?,
        "blue".parse()?,
        Assurance::PlatformAttested,
        now,
        now.plus(Duration::from_secs(300)),
    )?;
    let token = minter.mint(&identity, MintRequest::new("sts.amazonaws.com".parse()?)).await?;
    if token.kid() != minter.keys().active().public_jwk().kid().as_str() {
        return Err("a token of another key".into());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures how long signing takes")]
fn now() -> Instant {
    Instant::now()
}
