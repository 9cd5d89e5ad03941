import { createRouter, createWebHistory } from 'vue-router'
import type { Role, Scope } from './api/types'
import type { Key } from './i18n'

declare module 'vue-router' {
  interface RouteMeta {
    title: Key
    /** The least role whose key may see the page. */
    role?: Role
    scope?: Scope
  }
}

export const router = createRouter({
  history: createWebHistory(),
  scrollBehavior: (_to, _from, kept) => kept ?? { top: 0 },
  routes: [
    { path: '/', name: 'overview', component: () => import('./pages/OverviewPage.vue'), meta: { title: 'nav.overview', scope: 'shop' } },
    { path: '/trends', name: 'trends', component: () => import('./pages/TrendsPage.vue'), meta: { title: 'nav.trends', scope: 'trends' } },
    { path: '/trends/:by/:id', name: 'trend', component: () => import('./pages/TrendPage.vue'), meta: { title: 'nav.trends', scope: 'trends' } },
    { path: '/forecasts', name: 'forecasts', component: () => import('./pages/ForecastsPage.vue'), meta: { title: 'nav.forecasts', scope: 'forecasts' } },
    { path: '/prices', name: 'prices', component: () => import('./pages/PricesPage.vue'), meta: { title: 'nav.prices', scope: 'prices' } },
    { path: '/recommendations', name: 'recommendations', component: () => import('./pages/RecommendationsPage.vue'), meta: { title: 'nav.recommendations', scope: 'recommendations' } },
    { path: '/quality', name: 'quality', component: () => import('./pages/QualityPage.vue'), meta: { title: 'nav.quality', scope: 'shop' } },
    { path: '/models', name: 'models', component: () => import('./pages/ModelsPage.vue'), meta: { title: 'nav.models', scope: 'models' } },
    { path: '/models/:name', name: 'model', component: () => import('./pages/ModelPage.vue'), meta: { title: 'nav.models', scope: 'models' } },
    { path: '/experiments', name: 'experiments', component: () => import('./pages/ExperimentsPage.vue'), meta: { title: 'nav.experiments', scope: 'experiments' } },
    { path: '/experiments/:name', name: 'experiment', component: () => import('./pages/ExperimentPage.vue'), meta: { title: 'nav.experiments', scope: 'experiments' } },
    { path: '/monitoring', name: 'monitoring', component: () => import('./pages/MonitoringPage.vue'), meta: { title: 'nav.monitoring', scope: 'monitor' } },
    { path: '/jobs', name: 'jobs', component: () => import('./pages/JobsPage.vue'), meta: { title: 'nav.jobs', scope: 'jobs' } },
    { path: '/jobs/:id(\\d+)', name: 'job', component: () => import('./pages/JobPage.vue'), meta: { title: 'nav.jobs', scope: 'jobs' } },
    { path: '/keys', name: 'keys', component: () => import('./pages/KeysPage.vue'), meta: { title: 'nav.keys', role: 'admin', scope: 'keys' } },
    { path: '/audit', name: 'audit', component: () => import('./pages/AuditPage.vue'), meta: { title: 'nav.audit', role: 'admin', scope: 'audit' } },
    { path: '/settings', name: 'settings', component: () => import('./pages/SettingsPage.vue'), meta: { title: 'nav.settings' } },
    { path: '/:rest(.*)*', name: 'nowhere', component: () => import('./pages/NowherePage.vue'), meta: { title: 'nowhere.title' } },
  ],
})
