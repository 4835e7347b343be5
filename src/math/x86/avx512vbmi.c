/* SPDX-License-Identifier: Apache-2.0 */
typedef int vq_avx512vbmi_placeholder;
