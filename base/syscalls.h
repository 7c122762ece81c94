/* syscalls.h - system calls that not every machine, or not every C library's
 * header, has.  Numbers above 423 are the same everywhere. */
#ifndef BASE_SYSCALLS_H
#define BASE_SYSCALLS_H

#include <sys/syscall.h>

#define ABSENT (-1)

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#ifndef SYS_landlock_add_rule
#define SYS_landlock_add_rule 445
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS__llseek
#define SYS__llseek ABSENT
#endif
#ifndef SYS_accept4
#define SYS_accept4 ABSENT
#endif
#ifndef SYS_access
#define SYS_access ABSENT
#endif
#ifndef SYS_clock_gettime
#define SYS_clock_gettime ABSENT
#endif
#ifndef SYS_clock_gettime64
#define SYS_clock_gettime64 ABSENT
#endif
#ifndef SYS_clock_nanosleep
#define SYS_clock_nanosleep ABSENT
#endif
#ifndef SYS_clock_nanosleep_time64
#define SYS_clock_nanosleep_time64 ABSENT
#endif
#ifndef SYS_epoll_wait
#define SYS_epoll_wait ABSENT
#endif
#ifndef SYS_fadvise64
#define SYS_fadvise64 ABSENT
#endif
#ifndef SYS_fadvise64_64
#define SYS_fadvise64_64 ABSENT
#endif
#ifndef SYS_fcntl
#define SYS_fcntl ABSENT
#endif
#ifndef SYS_fcntl64
#define SYS_fcntl64 ABSENT
#endif
#ifndef SYS_fork
#define SYS_fork ABSENT
#endif
#ifndef SYS_fstat
#define SYS_fstat ABSENT
#endif
#ifndef SYS_fstat64
#define SYS_fstat64 ABSENT
#endif
#ifndef SYS_fstatat64
#define SYS_fstatat64 ABSENT
#endif
#ifndef SYS_fstatfs
#define SYS_fstatfs ABSENT
#endif
#ifndef SYS_fstatfs64
#define SYS_fstatfs64 ABSENT
#endif
#ifndef SYS_ftruncate
#define SYS_ftruncate ABSENT
#endif
#ifndef SYS_ftruncate64
#define SYS_ftruncate64 ABSENT
#endif
#ifndef SYS_futex
#define SYS_futex ABSENT
#endif
#ifndef SYS_futex_time64
#define SYS_futex_time64 ABSENT
#endif
#ifndef SYS_geteuid
#define SYS_geteuid ABSENT
#endif
#ifndef SYS_geteuid32
#define SYS_geteuid32 ABSENT
#endif
#ifndef SYS_getcwd
#define SYS_getcwd ABSENT
#endif
#ifndef SYS_gettimeofday
#define SYS_gettimeofday ABSENT
#endif
#ifndef SYS_lseek
#define SYS_lseek ABSENT
#endif
#ifndef SYS_lstat
#define SYS_lstat ABSENT
#endif
#ifndef SYS_lstat64
#define SYS_lstat64 ABSENT
#endif
#ifndef SYS_mkdir
#define SYS_mkdir ABSENT
#endif
#ifndef SYS_mmap
#define SYS_mmap ABSENT
#endif
#ifndef SYS_mmap2
#define SYS_mmap2 ABSENT
#endif
#ifndef SYS_nanosleep
#define SYS_nanosleep ABSENT
#endif
#ifndef SYS_newfstatat
#define SYS_newfstatat ABSENT
#endif
#ifndef SYS_open
#define SYS_open ABSENT
#endif
#ifndef SYS_poll
#define SYS_poll ABSENT
#endif
#ifndef SYS_ppoll
#define SYS_ppoll ABSENT
#endif
#ifndef SYS_ppoll_time64
#define SYS_ppoll_time64 ABSENT
#endif
#ifndef SYS_pread64
#define SYS_pread64 ABSENT
#endif
#ifndef SYS_prlimit64
#define SYS_prlimit64 ABSENT
#endif
#ifndef SYS_recvmmsg
#define SYS_recvmmsg ABSENT
#endif
#ifndef SYS_recvmmsg_time64
#define SYS_recvmmsg_time64 ABSENT
#endif
#ifndef SYS_rename
#define SYS_rename ABSENT
#endif
#ifndef SYS_renameat
#define SYS_renameat ABSENT
#endif
#ifndef SYS_renameat2
#define SYS_renameat2 ABSENT
#endif
#ifndef SYS_rseq
#define SYS_rseq ABSENT
#endif
#ifndef SYS_sigreturn
#define SYS_sigreturn ABSENT
#endif
#ifndef SYS_stat
#define SYS_stat ABSENT
#endif
#ifndef SYS_stat64
#define SYS_stat64 ABSENT
#endif
#ifndef SYS_statfs
#define SYS_statfs ABSENT
#endif
#ifndef SYS_statfs64
#define SYS_statfs64 ABSENT
#endif
#ifndef SYS_sync_file_range
#define SYS_sync_file_range ABSENT
#endif
#ifndef SYS_sync_file_range2
#define SYS_sync_file_range2 ABSENT
#endif
#ifndef SYS_time
#define SYS_time ABSENT
#endif
#ifndef SYS_unlink
#define SYS_unlink ABSENT
#endif
#ifndef SYS_wait4
#define SYS_wait4 ABSENT
#endif
#ifndef SYS_waitid
#define SYS_waitid ABSENT
#endif

#endif
