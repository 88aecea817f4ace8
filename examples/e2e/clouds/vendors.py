"""Has one vendor's own package exchange the token that ours exchanged, at a recorder: vendors.py CLOUD HOST FOLDER."""

import json
import pathlib
import sys

import certifi

cloud, host, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
# the packages bring their own authorities, and the recorder's is none of them
certifi.where = lambda: str(folder / "ca.pem")
asked = json.loads((folder / f"{cloud}.json").read_text())
token = folder / f"{cloud}.jwt"


def alibaba():
    from alibabacloud_credentials.provider.oidc import OIDCRoleArnCredentialsProvider
    provider = OIDCRoleArnCredentialsProvider(
        role_arn=asked["role"], oidc_provider_arn=asked["provider"], oidc_token_file_path=str(token),
        role_session_name=asked["name"], duration_seconds=asked["seconds"], sts_endpoint=host)
    assert provider.get_credentials().get_security_token() == "token"


def tencent():
    from tencentcloud.common.credential import OIDCRoleArnCredential
    credential = OIDCRoleArnCredential(
        asked["region"], asked["provider"], token.read_text(), asked["role"], asked["name"],
        duration_seconds=asked["seconds"], endpoint=host)
    assert credential.token == "token"


def gcp():
    import requests
    from google.auth import identity_pool
    from google.auth.transport.requests import Request
    session = requests.Session()
    session.verify = str(folder / "ca.pem")
    credentials = identity_pool.Credentials(
        audience=asked["provider"], subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=f"https://{host}/v1/token", credential_source={"file": str(token)},
        service_account_impersonation_url=(
            f"https://{host}/v1/projects/-/serviceAccounts/{asked['account']}:generateAccessToken"),
        service_account_impersonation_options={"token_lifetime_seconds": asked["seconds"]},
        scopes=asked["scopes"])
    credentials.refresh(Request(session=session))
    assert credentials.token == "token"


{"alibaba": alibaba, "tencent": tencent, "gcp": gcp}[cloud]()
