# The lab's server: a stock nginx on ports 80 and 443 of both families. Sourced by deploy/lab.

start_server() {
    command -v nginx >/dev/null || die "nginx is missing: apt-get install nginx"
    command -v openssl >/dev/null || die "openssl is missing: apt-get install openssl"
    mkdir -p "$files/www/upload" "$state/nginx"
    write_files
    write_certificate
    cp "$here/lab.d/nginx.conf" "$state/nginx/nginx.conf"
    ln -s "$files/www" "$state/nginx/www"
    # nginx opens its default error log before it reads its configuration.
    enter server nginx -p "$state/nginx" -c "$state/nginx/nginx.conf" -e "$state/nginx/error.log"
    wait_for nginx "$state/nginx/error.log" answers
}

answers() {
    nsenter --net="/run/netns/$(namespace server)" -- \
        bash -c 'for address in 192.0.2.10 2001:db8:5::10; do
            for port in 80 443; do : </dev/tcp/$address/$port || exit 1; done
        done'
}

# Writes files that do not compress and are the same in every lab, with their checksums.
write_files() {
    cd "$files/www"
    echo 'synward lab' >index.html
    pseudo_random 1 >1m
    pseudo_random "$file_mib" >big
    sha256sum index.html 1m big >SHA256SUMS
    chown www-data upload
    cd - >/dev/null
}

pseudo_random() {
    head -c "$(($1 << 20))" /dev/zero |
        openssl enc -aes-128-ctr -nosalt -K 73796e7761726420206c616220202020 -iv 00000000000000000000000000000000
}

write_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=synward-lab \
        -addext 'subjectAltName=IP:192.0.2.10,IP:2001:db8:5::10' \
        -keyout "$state/nginx/key.pem" -out "$state/nginx/cert.pem" 2>/dev/null
}
