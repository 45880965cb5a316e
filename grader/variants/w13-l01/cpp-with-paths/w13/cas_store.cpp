// The store in C++17: paths and an std::ofstream, synced through another descriptor.
// SPDX-License-Identifier: MIT
#include "cas_store.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace {

class Fd {
public:
    explicit Fd(int number) : number(number) {}
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    ~Fd() { if (number >= 0) ::close(number); }
    explicit operator bool() const { return number >= 0; }
    int release() { int kept = number; number = -1; return kept; }
    int sync() const
    {
        while (fsync(number) < 0) {
            if (errno != EINTR)
                return -errno;
        }
        return 0;
    }
    int number;
};

// The path of the directory that a descriptor leads to.
fs::path dir_of(const struct cas *store)
{
    return fs::read_symlink("/proc/self/fd/" + std::to_string(store->dir_fd));
}

int poisoned(struct cas *store, int rc)
{
    if (rc < 0)
        store->error = rc;
    return rc;
}

int read_all(int fd, std::string &bytes)
{
    size_t done = 0;

    while (done < bytes.size()) {
        ssize_t n = read(fd, &bytes[done], bytes.size() - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += size_t(n);
    }
    bytes.resize(done);
    return 0;
}

// CAS_OK, another verdict or a negative errno; the file stays open in `file`.
int verified(const struct cas *store, const std::string &name, Fd &file,
             std::string &bytes)
{
    struct stat st;
    char actual[CAS_NAME_BYTES];

    file.number = openat(store->dir_fd, name.c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (!file) {
        if (errno == ENOENT)
            return CAS_MISSING;
        return errno == ELOOP || errno == ENXIO ? int(CAS_NOT_A_FILE) : -errno;
    }
    if (fstat(file.number, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return CAS_NOT_A_FILE;
    if (size_t(st.st_size) > CAS_OBJECT_MAX_BYTES)
        return CAS_TOO_LONG;
    bytes.resize(size_t(st.st_size));
    int rc = read_all(file.number, bytes);
    if (rc == 0)
        rc = cas_name(bytes.data(), bytes.size(), actual);
    if (rc < 0)
        return rc;
    if (name == actual)
        return CAS_OK;
    return bytes.empty() ? CAS_EMPTY : CAS_MISMATCH;
}

// Without leftovers there is nothing to clean: the next lesson's.
int clean(const struct cas *)
{
    return 0;
}

// Under the final name at once: a crash leaves any part of it.
int publish(const struct cas *store, const char *data, size_t len,
            const char *name)
{
    const fs::path path = dir_of(store) / name;

    if (unlink(path.c_str()) < 0 && errno != ENOENT)
        return -errno;
    std::ofstream out(path, std::ios::binary);
    out.write(data, std::streamsize(len));
    out.close();
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const int rc = !out ? -EIO : !fd ? -errno : fd.sync();
    if (rc < 0)
        unlink(path.c_str()); // what can be read may be lost
    return rc;
}

} // namespace

extern "C" int cas_name(const void *data, size_t len,
                        char name_out[CAS_NAME_BYTES])
{
    unsigned char digest[32];

    if (EVP_Digest(data, len, digest, nullptr, EVP_sha256(), nullptr) != 1)
        return -ENOMEM;
    for (unsigned char byte : digest) {
        *name_out++ = "0123456789abcdef"[byte >> 4];
        *name_out++ = "0123456789abcdef"[byte & 15];
    }
    *name_out = '\0';
    return 0;
}

extern "C" int cas_open(struct cas *store, const char *dir)
{
    std::error_code error;
    fs::create_directory(dir, error);
    Fd fd(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return -errno;
    struct cas opened {};
    opened.dir_fd = fd.number;
    int rc = clean(&opened);
    if (rc == 0)
        rc = fd.sync();
    if (rc == 0) {
        Fd parent(open(dir_of(&opened).parent_path().c_str(),
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        rc = parent ? parent.sync() : -errno;
    }
    if (rc < 0)
        return rc;
    fd.release();
    *store = opened;
    return 0;
}

extern "C" int cas_store(struct cas *store, const void *data, size_t len,
                         char name_out[CAS_NAME_BYTES])
{
    char name[CAS_NAME_BYTES];

    if (store->error < 0)
        return store->error;
    if (len > CAS_OBJECT_MAX_BYTES)
        return -EMSGSIZE;
    int rc = cas_name(data, len, name);
    if (rc < 0)
        return rc;
    Fd object(-1);
    std::string bytes;
    if (verified(store, name, object, bytes) == CAS_OK)
        rc = poisoned(store, object.sync());
    else
        rc = publish(store, static_cast<const char *>(data), len, name);
    if (rc == 0) {
        Fd dir(dup(store->dir_fd));
        rc = poisoned(store, dir.sync());
    }
    if (rc == 0)
        std::memcpy(name_out, name, sizeof(name));
    return rc;
}

extern "C" int cas_load(struct cas *store, const char *name, void **data_out,
                        size_t *len_out)
{
    Fd object(-1);
    std::string bytes;

    if (store->error < 0)
        return store->error;
    if (std::strspn(name, "0123456789abcdef") != 64 || name[64] != '\0')
        return -EINVAL;
    int rc = verified(store, name, object, bytes);
    if (rc != CAS_OK)
        return rc;
    void *data = std::malloc(bytes.size() + 1);
    if (!data)
        return -ENOMEM;
    std::memcpy(data, bytes.data(), bytes.size());
    *data_out = data;
    *len_out = bytes.size();
    return CAS_OK;
}

extern "C" int cas_close(struct cas *store)
{
    int rc = ::close(store->dir_fd) < 0 ? -errno : 0;

    return store->error < 0 ? store->error : rc;
}

#ifndef NO_SELF_TEST

namespace {

const fs::path DIR = "store_dir";

void must(const char *what, int rc)
{
    if (rc < 0) {
        std::cerr << what << ": " << std::strerror(-rc) << "\n";
        std::exit(1);
    }
}

int entries(const std::string &prefix, bool remove)
{
    int count = 0;

    for (const auto &entry : fs::directory_iterator(DIR)) {
        if (entry.path().filename().string().rfind(prefix, 0) == 0) {
            count++;
            if (remove)
                fs::remove(entry.path());
        }
    }
    return count;
}

std::string put(struct cas *store, const std::string &text)
{
    char name[CAS_NAME_BYTES];

    must("cas_store", cas_store(store, text.data(), text.size(), name));
    std::cout << "store " << std::setw(2) << text.size() << " bytes: " << name << "\n";
    return name;
}

void put_again(struct cas *store, const std::string &text, const std::string &name)
{
    struct stat before, after;
    char again[CAS_NAME_BYTES];

    stat((DIR / name).c_str(), &before);
    must("cas_store", cas_store(store, text.data(), text.size(), again));
    stat((DIR / name).c_str(), &after);
    std::cout << "store it again: "
              << (before.st_ino == after.st_ino ? "a duplicate, nothing written"
                                                : "a new file, by atomic rename")
              << "\n";
}

void get(struct cas *store, const std::string &name)
{
    static const char *const verdicts[] = { "ok", "missing", "empty", "mismatch",
                                            "too long", "not a file" };
    void *data;
    size_t len;
    int verdict = cas_load(store, name.c_str(), &data, &len);

    must("cas_load", verdict);
    std::cout << "load " << name.substr(0, 8) << ": " << verdicts[verdict];
    if (verdict == CAS_OK) {
        std::cout << ", " << len << " bytes";
        std::free(data);
    }
    std::cout << "\n";
}

} // namespace

int main()
{
    const std::string text = "hello, world";
    struct cas store;

    fs::create_directory(DIR);
    entries("", true);
    must("cas_open", cas_open(&store, DIR.c_str()));
    const std::string hello = put(&store, text), empty = put(&store, "");
    get(&store, hello);
    get(&store, empty);
    fs::resize_file(DIR / hello, 5);
    std::cout << "cut it to 5 bytes\n";
    get(&store, hello);
    put_again(&store, text, hello);
    get(&store, hello);
    put_again(&store, text, hello);
    must("cas_close", cas_close(&store));

    std::ofstream(DIR / ".tmp-dead");
    std::cout << "leftovers after a crash: " << entries(".tmp-", false) << "\n";
    must("cas_open", cas_open(&store, DIR.c_str()));
    std::cout << "leftovers after cas_open: " << entries(".tmp-", false) << "\n";
    must("cas_close", cas_close(&store));
    std::cout << "objects: " << entries("", false) << "\n";
    return 0;
}

#endif
