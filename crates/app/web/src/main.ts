import './link'
import { createApp } from 'vue'
import App from './App.vue'
import { applyPreferences } from './preferences'
import { router } from './router'
import './styles.css'

applyPreferences()
createApp(App).use(router).mount('#app')
