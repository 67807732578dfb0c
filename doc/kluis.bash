# bash completion for kluis, made by 'kluis completion bash'
_kluis_nouns="vault key secret certificate policy role principal token audit dev"

_kluis_files()
{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$word")
}

_kluis()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} at=1
    local noun verb path offers=
    [[ ${COMP_WORDS[1]} == keyvault ]] && at=2
    noun=${COMP_WORDS[at]} verb=${COMP_WORDS[at + 1]}
    if ((COMP_CWORD == at)); then
        path=
    elif [[ " $_kluis_nouns " != *" $noun "* ]]; then
        path=$noun
    elif ((COMP_CWORD == at + 1)); then
        path=$noun
    else
        path="$noun $verb"
    fi
    case "$path $before" in
    "vault create --profile") offers="domain-backed fixed" ;;
    "vault create --output" | "vault create -o") offers="json table tsv" ;;
    "vault list --output" | "vault list -o") offers="json table tsv" ;;
    "vault show --output" | "vault show -o") offers="json table tsv" ;;
    "vault update --output" | "vault update -o") offers="json table tsv" ;;
    "vault delete --output" | "vault delete -o") offers="json table tsv" ;;
    "vault list-deleted --output" | "vault list-deleted -o") offers="json table tsv" ;;
    "vault show-deleted --output" | "vault show-deleted -o") offers="json table tsv" ;;
    "vault recover --output" | "vault recover -o") offers="json table tsv" ;;
    "key create --kty") offers="RSA RSA-HSM EC EC-HSM" ;;
    "key create --size") offers="2048 3072 4096" ;;
    "key create --curve") offers="P-256 P-384 P-521" ;;
    "key create --protection" | "key create -p") offers="hsm software" ;;
    "key create --ops") offers="encrypt decrypt sign verify wrapKey unwrapKey import" ;;
    "key create --output" | "key create -o") offers="json table tsv" ;;
    "key attach --ops") offers="encrypt decrypt sign verify wrapKey unwrapKey import" ;;
    "key attach --output" | "key attach -o") offers="json table tsv" ;;
    "key import --pem-file") _kluis_files -f; return ;;
    "key import --pem-password-file") _kluis_files -f; return ;;
    "key import --byok-file") _kluis_files -f; return ;;
    "key import --kty") offers="RSA RSA-HSM EC EC-HSM" ;;
    "key import --protection" | "key import -p") offers="hsm software" ;;
    "key import --ops") offers="encrypt decrypt sign verify wrapKey unwrapKey import" ;;
    "key import --output" | "key import -o") offers="json table tsv" ;;
    "key show --output" | "key show -o") offers="json table tsv" ;;
    "key list --output" | "key list -o") offers="json table tsv" ;;
    "key list-versions --output" | "key list-versions -o") offers="json table tsv" ;;
    "key set-attributes --ops") offers="encrypt decrypt sign verify wrapKey unwrapKey import" ;;
    "key set-attributes --output" | "key set-attributes -o") offers="json table tsv" ;;
    "key rotate --output" | "key rotate -o") offers="json table tsv" ;;
    "key rotation-policy --file") _kluis_files -f; return ;;
    "key rotation-policy --output" | "key rotation-policy -o") offers="json table tsv" ;;
    "key delete --output" | "key delete -o") offers="json table tsv" ;;
    "key list-deleted --output" | "key list-deleted -o") offers="json table tsv" ;;
    "key show-deleted --output" | "key show-deleted -o") offers="json table tsv" ;;
    "key recover --output" | "key recover -o") offers="json table tsv" ;;
    "key purge --output" | "key purge -o") offers="json table tsv" ;;
    "key backup --file" | "key backup -f") _kluis_files -f; return ;;
    "key backup --output" | "key backup -o") offers="json table tsv" ;;
    "key restore --file" | "key restore -f") _kluis_files -f; return ;;
    "key restore --output" | "key restore -o") offers="json table tsv" ;;
    "key encrypt --algorithm" | "key encrypt -a") offers="RSA-OAEP-256 RSA-OAEP RSA1_5" ;;
    "key encrypt --file") _kluis_files -f; return ;;
    "key encrypt --out") _kluis_files -f; return ;;
    "key encrypt --output" | "key encrypt -o") offers="json table tsv" ;;
    "key decrypt --algorithm" | "key decrypt -a") offers="RSA-OAEP-256 RSA-OAEP RSA1_5" ;;
    "key decrypt --file") _kluis_files -f; return ;;
    "key decrypt --out") _kluis_files -f; return ;;
    "key decrypt --output" | "key decrypt -o") offers="json table tsv" ;;
    "key wrap --algorithm" | "key wrap -a") offers="RSA-OAEP-256 RSA-OAEP RSA1_5" ;;
    "key wrap --file") _kluis_files -f; return ;;
    "key wrap --out") _kluis_files -f; return ;;
    "key wrap --output" | "key wrap -o") offers="json table tsv" ;;
    "key unwrap --algorithm" | "key unwrap -a") offers="RSA-OAEP-256 RSA-OAEP RSA1_5" ;;
    "key unwrap --file") _kluis_files -f; return ;;
    "key unwrap --out") _kluis_files -f; return ;;
    "key unwrap --output" | "key unwrap -o") offers="json table tsv" ;;
    "key sign --algorithm" | "key sign -a") offers="RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512" ;;
    "key sign --file") _kluis_files -f; return ;;
    "key sign --out") _kluis_files -f; return ;;
    "key sign --output" | "key sign -o") offers="json table tsv" ;;
    "key verify --algorithm" | "key verify -a") offers="RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512" ;;
    "key verify --file") _kluis_files -f; return ;;
    "key verify --signature-file") _kluis_files -f; return ;;
    "key verify --output" | "key verify -o") offers="json table tsv" ;;
    "secret set --file" | "secret set -f") _kluis_files -f; return ;;
    "secret set --encoding" | "secret set -e") offers="utf-8 ascii base64 hex" ;;
    "secret set --output" | "secret set -o") offers="json table tsv" ;;
    "secret show --output" | "secret show -o") offers="json table tsv" ;;
    "secret download --file" | "secret download -f") _kluis_files -f; return ;;
    "secret download --encoding" | "secret download -e") offers="utf-8 ascii base64 hex" ;;
    "secret download --output" | "secret download -o") offers="json table tsv" ;;
    "secret list --output" | "secret list -o") offers="json table tsv" ;;
    "secret list-versions --output" | "secret list-versions -o") offers="json table tsv" ;;
    "secret set-attributes --output" | "secret set-attributes -o") offers="json table tsv" ;;
    "secret delete --output" | "secret delete -o") offers="json table tsv" ;;
    "secret list-deleted --output" | "secret list-deleted -o") offers="json table tsv" ;;
    "secret show-deleted --output" | "secret show-deleted -o") offers="json table tsv" ;;
    "secret recover --output" | "secret recover -o") offers="json table tsv" ;;
    "secret purge --output" | "secret purge -o") offers="json table tsv" ;;
    "secret backup --file" | "secret backup -f") _kluis_files -f; return ;;
    "secret backup --output" | "secret backup -o") offers="json table tsv" ;;
    "secret restore --file" | "secret restore -f") _kluis_files -f; return ;;
    "secret restore --output" | "secret restore -o") offers="json table tsv" ;;
    "certificate create --output" | "certificate create -o") offers="json table tsv" ;;
    "certificate import --file" | "certificate import -f") _kluis_files -f; return ;;
    "certificate import --password-file") _kluis_files -f; return ;;
    "certificate import --output" | "certificate import -o") offers="json table tsv" ;;
    "certificate show --output" | "certificate show -o") offers="json table tsv" ;;
    "certificate list --output" | "certificate list -o") offers="json table tsv" ;;
    "certificate list-versions --output" | "certificate list-versions -o") offers="json table tsv" ;;
    "certificate download --file" | "certificate download -f") _kluis_files -f; return ;;
    "certificate download --encoding" | "certificate download -e") offers="PEM DER" ;;
    "certificate set-attributes --output" | "certificate set-attributes -o") offers="json table tsv" ;;
    "certificate pending --file" | "certificate pending -f") _kluis_files -f; return ;;
    "certificate pending --output" | "certificate pending -o") offers="json table tsv" ;;
    "certificate delete --output" | "certificate delete -o") offers="json table tsv" ;;
    "certificate list-deleted --output" | "certificate list-deleted -o") offers="json table tsv" ;;
    "certificate show-deleted --output" | "certificate show-deleted -o") offers="json table tsv" ;;
    "certificate recover --output" | "certificate recover -o") offers="json table tsv" ;;
    "certificate purge --output" | "certificate purge -o") offers="json table tsv" ;;
    "certificate backup --file" | "certificate backup -f") _kluis_files -f; return ;;
    "certificate backup --output" | "certificate backup -o") offers="json table tsv" ;;
    "certificate restore --file" | "certificate restore -f") _kluis_files -f; return ;;
    "certificate restore --output" | "certificate restore -o") offers="json table tsv" ;;
    "policy set --key-permissions") offers="get list create update import delete recover purge backup restore encrypt decrypt wrapKey unwrapKey sign verify rotate release getRotationPolicy setRotationPolicy all" ;;
    "policy set --secret-permissions") offers="get list set delete recover backup restore purge all" ;;
    "policy set --certificate-permissions") offers="get list create update import delete recover backup restore purge manageContacts manageIssuers getIssuers listIssuers setIssuers deleteIssuers all" ;;
    "policy set --vault-permissions") offers="get list update delete recover purge getPolicy setPolicy all" ;;
    "policy set --template") offers="azure-backup azure-backup-cmk" ;;
    "policy set --output" | "policy set -o") offers="json table tsv" ;;
    "policy show --output" | "policy show -o") offers="json table tsv" ;;
    "policy delete --output" | "policy delete -o") offers="json table tsv" ;;
    "role list --output" | "role list -o") offers="json table tsv" ;;
    "role show --output" | "role show -o") offers="json table tsv" ;;
    "role assign --output" | "role assign -o") offers="json table tsv" ;;
    "principal create --roles") offers="administrator auditor" ;;
    "principal create --secret-file") _kluis_files -f; return ;;
    "principal create --type") offers="application user group" ;;
    "principal create --output" | "principal create -o") offers="json table tsv" ;;
    "principal list --output" | "principal list -o") offers="json table tsv" ;;
    "principal update --roles") offers="administrator auditor" ;;
    "principal update --output" | "principal update -o") offers="json table tsv" ;;
    "principal credential --certificate") _kluis_files -f; return ;;
    "principal credential --secret-file") _kluis_files -f; return ;;
    "principal credential --output" | "principal credential -o") offers="json table tsv" ;;
    "token list --output" | "token list -o") offers="json table tsv" ;;
    "token show --output" | "token show -o") offers="json table tsv" ;;
    "token login --pin-file") _kluis_files -f; return ;;
    "token login --output" | "token login -o") offers="json table tsv" ;;
    "token test --pkcs11-module") _kluis_files -f; return ;;
    "token test --pin-file") _kluis_files -f; return ;;
    "token test --pkcs11-store-dir") _kluis_files -d; return ;;
    "token test --output" | "token test -o") offers="json table tsv" ;;
    "token bench --pkcs11-module") _kluis_files -f; return ;;
    "token bench --pin-file") _kluis_files -f; return ;;
    "token bench --pkcs11-store-dir") _kluis_files -d; return ;;
    "token bench --output" | "token bench -o") offers="json table tsv" ;;
    "token domain-key --pkcs11-module") _kluis_files -f; return ;;
    "token domain-key --pin-file") _kluis_files -f; return ;;
    "token domain-key --pkcs11-store-dir") _kluis_files -d; return ;;
    "token domain-key --so-pin-file") _kluis_files -f; return ;;
    "token domain-key --out-dir") _kluis_files -d; return ;;
    "token domain-key --output" | "token domain-key -o") offers="json table tsv" ;;
    "audit verify --file" | "audit verify -f") _kluis_files -f; return ;;
    "audit verify --head-file") _kluis_files -f; return ;;
    "audit verify --public-key") _kluis_files -f; return ;;
    "audit verify --output" | "audit verify -o") offers="json table tsv" ;;
    "audit head --output" | "audit head -o") offers="json table tsv" ;;
    "dev up --dir") _kluis_files -d; return ;;
    "dev up --pkcs11-module") _kluis_files -f; return ;;
    "dev up --pkcs11-store-dir") _kluis_files -d; return ;;
    "dev up --pin-file") _kluis_files -f; return ;;
    "dev up --so-pin-file") _kluis_files -f; return ;;
    "dev down --dir") _kluis_files -d; return ;;
    "encrypt --out") _kluis_files -f; return ;;
    "encrypt --algorithm" | "encrypt -a") offers="RSA-OAEP-256 RSA-OAEP" ;;
    "encrypt --segment") offers="64K 1M 4M" ;;
    "decrypt --out") _kluis_files -f; return ;;
    "inspect --output" | "inspect -o") offers="json table tsv" ;;
    "rewrap --algorithm" | "rewrap -a") offers="RSA-OAEP-256 RSA-OAEP" ;;
    "rewrap --output" | "rewrap -o") offers="json table tsv" ;;
    "login --ca") _kluis_files -f; return ;;
    "login --secret-file") _kluis_files -f; return ;;
    "login --output" | "login -o") offers="json table tsv" ;;
    "whoami --output" | "whoami -o") offers="json table tsv" ;;
    esac
    case "$path" in
    "") offers="vault key secret certificate policy role principal token audit dev encrypt decrypt inspect rewrap login logout whoami completion reference version keyvault help" ;;
    "vault") offers="create list show update delete list-deleted show-deleted recover purge" ;;
    "vault create") [[ $offers ]] || offers="--name --allow-rsa1-5 --unwrap-older-versions --origins --retention-days --enable-purge-protection --profile --token --subscription --geography --location --tags --output --timeout --help" ;;
    "vault list") [[ $offers ]] || offers="--output --timeout --help" ;;
    "vault show") [[ $offers ]] || offers="--name --output --timeout --help" ;;
    "vault update") [[ $offers ]] || offers="--name --allow-rsa1-5 --unwrap-older-versions --enable-rbac-authorization --enable-purge-protection --enable-soft-delete --token --tags --output --timeout --help" ;;
    "vault delete") [[ $offers ]] || offers="--name --yes --output --timeout --help" ;;
    "vault list-deleted") [[ $offers ]] || offers="--output --timeout --help" ;;
    "vault show-deleted") [[ $offers ]] || offers="--name --output --timeout --help" ;;
    "vault recover") [[ $offers ]] || offers="--name --output --timeout --help" ;;
    "vault purge") [[ $offers ]] || offers="--name --yes --timeout --help" ;;
    "key") offers="create attach import show list list-versions set-attributes rotate rotation-policy delete list-deleted show-deleted recover purge backup restore encrypt decrypt wrap unwrap sign verify" ;;
    "key create") [[ $offers ]] || offers="--vault-name --name --id --kty --size --curve --protection --disabled --no-backup --ops --expires --not-before --tags --output --timeout --help" ;;
    "key attach") [[ $offers ]] || offers="--vault-name --name --pkcs11-uri --destroy-on-purge --disabled --ops --expires --not-before --tags --output --timeout --help" ;;
    "key import") [[ $offers ]] || offers="--vault-name --name --id --pem-file --pem-password-file --byok-file --kty --protection --no-backup --disabled --ops --expires --not-before --tags --output --timeout --help" ;;
    "key show") [[ $offers ]] || offers="--vault-name --name --id --version --output --timeout --help" ;;
    "key list") [[ $offers ]] || offers="--vault-name --output --timeout --help" ;;
    "key list-versions") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "key set-attributes") [[ $offers ]] || offers="--vault-name --name --id --version --enabled --ops --expires --not-before --tags --output --timeout --help" ;;
    "key rotate") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "key rotation-policy") [[ $offers || $word == -* ]] || offers="WORD"
        [[ $offers ]] || offers="--vault-name --name --id --rotate-after --rotate-before --notify-before --expiry-time --value --file --output --timeout --help" ;;
    "key delete") [[ $offers ]] || offers="--vault-name --name --id --yes --output --timeout --help" ;;
    "key list-deleted") [[ $offers ]] || offers="--vault-name --output --timeout --help" ;;
    "key show-deleted") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "key recover") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "key purge") [[ $offers ]] || offers="--vault-name --name --id --yes --output --timeout --help" ;;
    "key backup") [[ $offers ]] || offers="--vault-name --name --id --subscription --file --force --output --timeout --help" ;;
    "key restore") [[ $offers ]] || offers="--vault-name --subscription --file --output --timeout --help" ;;
    "key encrypt") [[ $offers ]] || offers="--vault-name --name --id --version --algorithm --file --out --force --output --timeout --help" ;;
    "key decrypt") [[ $offers ]] || offers="--vault-name --name --id --version --algorithm --value --file --out --force --show-secret --output --timeout --help" ;;
    "key wrap") [[ $offers ]] || offers="--vault-name --name --id --version --algorithm --file --out --force --output --timeout --help" ;;
    "key unwrap") [[ $offers ]] || offers="--vault-name --name --id --version --algorithm --value --file --out --force --show-secret --output --timeout --help" ;;
    "key sign") [[ $offers ]] || offers="--vault-name --name --id --version --algorithm --file --digest --out --force --output --timeout --help" ;;
    "key verify") [[ $offers ]] || offers="--vault-name --name --id --version --algorithm --file --digest --signature --signature-file --output --timeout --help" ;;
    "secret") offers="set show download list list-versions set-attributes delete list-deleted show-deleted recover purge backup restore" ;;
    "secret set") [[ $offers ]] || offers="--vault-name --name --id --file --encoding --value --disabled --content-type --expires --not-before --tags --output --timeout --help" ;;
    "secret show") [[ $offers ]] || offers="--vault-name --name --id --version --show-secret --output --timeout --help" ;;
    "secret download") [[ $offers ]] || offers="--vault-name --name --id --version --file --encoding --force --output --timeout --help" ;;
    "secret list") [[ $offers ]] || offers="--vault-name --output --timeout --help" ;;
    "secret list-versions") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "secret set-attributes") [[ $offers ]] || offers="--vault-name --name --id --version --enabled --content-type --expires --not-before --tags --output --timeout --help" ;;
    "secret delete") [[ $offers ]] || offers="--vault-name --name --id --yes --output --timeout --help" ;;
    "secret list-deleted") [[ $offers ]] || offers="--vault-name --output --timeout --help" ;;
    "secret show-deleted") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "secret recover") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "secret purge") [[ $offers ]] || offers="--vault-name --name --id --yes --output --timeout --help" ;;
    "secret backup") [[ $offers ]] || offers="--vault-name --name --id --subscription --file --force --output --timeout --help" ;;
    "secret restore") [[ $offers ]] || offers="--vault-name --subscription --file --output --timeout --help" ;;
    "certificate") offers="create import show list list-versions download set-attributes get-default-policy pending delete list-deleted show-deleted recover purge backup restore" ;;
    "certificate create") [[ $offers ]] || offers="--vault-name --name --id --policy --subject --disabled --tags --output --timeout --help" ;;
    "certificate import") [[ $offers ]] || offers="--vault-name --name --id --file --password-file --password --policy --disabled --tags --output --timeout --help" ;;
    "certificate show") [[ $offers ]] || offers="--vault-name --name --id --version --output --timeout --help" ;;
    "certificate list") [[ $offers ]] || offers="--vault-name --include-pending --output --timeout --help" ;;
    "certificate list-versions") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "certificate download") [[ $offers ]] || offers="--vault-name --name --id --version --file --encoding --force --timeout --help" ;;
    "certificate set-attributes") [[ $offers ]] || offers="--vault-name --name --id --version --enabled --policy --tags --output --timeout --help" ;;
    "certificate get-default-policy") [[ $offers ]] || offers="--scaffold --help" ;;
    "certificate pending") [[ $offers || $word == -* ]] || offers="merge show delete"
        [[ $offers ]] || offers="--vault-name --name --id --file --disabled --tags --output --timeout --help" ;;
    "certificate delete") [[ $offers ]] || offers="--vault-name --name --id --yes --output --timeout --help" ;;
    "certificate list-deleted") [[ $offers ]] || offers="--vault-name --output --timeout --help" ;;
    "certificate show-deleted") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "certificate recover") [[ $offers ]] || offers="--vault-name --name --id --output --timeout --help" ;;
    "certificate purge") [[ $offers ]] || offers="--vault-name --name --id --yes --output --timeout --help" ;;
    "certificate backup") [[ $offers ]] || offers="--vault-name --name --id --subscription --file --force --output --timeout --help" ;;
    "certificate restore") [[ $offers ]] || offers="--vault-name --subscription --file --output --timeout --help" ;;
    "policy") offers="set show delete" ;;
    "policy set") [[ $offers ]] || offers="--vault-name --principal --key-permissions --secret-permissions --certificate-permissions --vault-permissions --template --dry-run --output --timeout --help" ;;
    "policy show") [[ $offers ]] || offers="--vault-name --principal --output --timeout --help" ;;
    "policy delete") [[ $offers ]] || offers="--vault-name --principal --output --timeout --help" ;;
    "role") offers="list show assign remove" ;;
    "role list") [[ $offers ]] || offers="--output --timeout --help" ;;
    "role show") [[ $offers ]] || offers="--vault-name --output --timeout --help" ;;
    "role assign") [[ $offers ]] || offers="--vault-name --principal --role --output --timeout --help" ;;
    "role remove") [[ $offers ]] || offers="--vault-name --id --timeout --help" ;;
    "principal") offers="create list update credential delete" ;;
    "principal create") [[ $offers ]] || offers="--name --roles --secret-file --show-secret --no-secret --issuer --type --object-id --subject --client-id --output --timeout --help" ;;
    "principal list") [[ $offers ]] || offers="--output --timeout --help" ;;
    "principal update") [[ $offers ]] || offers="--principal --disabled --roles --output --timeout --help" ;;
    "principal credential") [[ $offers || $word == -* ]] || offers="add list remove reset"
        [[ $offers ]] || offers="--principal --name --expires --overlap --certificate --subject --id --secret-file --show-secret --output --timeout --help" ;;
    "principal delete") [[ $offers ]] || offers="--principal --yes --timeout --help" ;;
    "token") offers="list show login test bench domain-key" ;;
    "token list") [[ $offers ]] || offers="--output --timeout --help" ;;
    "token show") [[ $offers ]] || offers="--name --output --timeout --help" ;;
    "token login") [[ $offers ]] || offers="--name --pin-file --pin-fd --output --timeout --help" ;;
    "token test") [[ $offers ]] || offers="--pkcs11-module --pkcs11-uri --pin-file --pkcs11-init-args --pkcs11-store-dir --output --help" ;;
    "token bench") [[ $offers ]] || offers="--pkcs11-module --pkcs11-uri --pin-file --pkcs11-init-args --pkcs11-store-dir --seconds --workers --size --output --help" ;;
    "token domain-key") [[ $offers || $word == -* ]] || { _kluis_files -f; return; }
        [[ $offers ]] || offers="--pkcs11-module --pkcs11-uri --pin-file --pkcs11-init-args --pkcs11-store-dir --so-pin-file --shares --out-dir --id --name --vault-name --force --yes --output --timeout --help" ;;
    "audit") offers="verify head" ;;
    "audit verify") [[ $offers ]] || offers="--file --head-file --public-key --offline --output --timeout --help" ;;
    "audit head") [[ $offers ]] || offers="--output --timeout --help" ;;
    "dev") offers="up down" ;;
    "dev up") [[ $offers ]] || offers="--dir --port --tokens --pkcs11-module --pkcs11-uri --pkcs11-init-args --pkcs11-store-dir --pin-file --so-pin-file --help" ;;
    "dev down") [[ $offers ]] || offers="--dir --help" ;;
    "encrypt") [[ $offers || $word == -* ]] || { _kluis_files -f; return; }
        [[ $offers ]] || offers="--key --out --algorithm --segment --threads --timeout --help" ;;
    "decrypt") [[ $offers || $word == -* ]] || { _kluis_files -f; return; }
        [[ $offers ]] || offers="--out --verify-first --threads --timeout --help" ;;
    "inspect") [[ $offers || $word == -* ]] || { _kluis_files -f; return; }
        [[ $offers ]] || offers="--output --help" ;;
    "rewrap") [[ $offers || $word == -* ]] || { _kluis_files -f; return; }
        [[ $offers ]] || offers="--to-version --key --algorithm --wipe-old --verify --output --timeout --help" ;;
    "login") [[ $offers ]] || offers="--url --vault-url --ca --tenant --client-id --secret-file --service-principal --output --timeout --help" ;;
    "logout") [[ $offers ]] || offers=" --help" ;;
    "whoami") [[ $offers ]] || offers="--output --timeout --help" ;;
    "completion") [[ $offers || $word == -* ]] || offers="bash"
        [[ $offers ]] || offers=" --help" ;;
    "reference") [[ $offers || $word == -* ]] || offers="markdown man"
        [[ $offers ]] || offers=" --help" ;;
    "version") [[ $offers ]] || offers=" --help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word")
}
complete -F _kluis kluis
