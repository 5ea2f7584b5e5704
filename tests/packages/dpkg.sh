# A function of tests/packages/run and tests/packages/formats.

# with_dpkg_lock COMMAND...: runs dpkg, and prints its output. Retries for five minutes while another process has locked
# dpkg's database.
with_dpkg_lock() {
    printf '+ %s\n' "$*"
    tries=300
    until dpkg_output=$(LC_ALL=C "$@" 2>&1); do
        tries=$((tries - 1))
        case $tries:$dpkg_output in
            0:*) ;;
            *'locked by another process'*) sleep 1; continue ;;
        esac
        printf '%s\n' "$dpkg_output"
        return 1
    done
    printf '%s\n' "$dpkg_output"
}
