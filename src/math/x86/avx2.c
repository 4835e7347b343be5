/* SPDX-License-Identifier: Apache-2.0 */
typedef int vq_avx2_placeholder;
